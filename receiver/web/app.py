"""The assembly of the service: its objects, its routes and its middleware, all from the settings passed in."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from receiver import clock
from receiver.access.guard import ClientResolver, RequestGuard
from receiver.access.headers import HeaderReader
from receiver.access.operators import OperatorAuth
from receiver.access.refusal_causes import WrongTokens
from receiver.access.setup_windows import SetupWindows
from receiver.domain.customers import CUSTOMERS_PATH
from receiver.domain.imports import Imported
from receiver.domain.processes import local_url
from receiver.domain.records import DOWNLOAD
from receiver.errors import ReceiverError
from receiver.maintenance.bring_in import DeliveryImport
from receiver.maintenance.erase import Eraser
from receiver.maintenance.prune import Pruner, PruneSchedule
from receiver.maintenance.reconcile.jobs import ReconcileJobs
from receiver.maintenance.reconcile.runs import ReconcileRuns
from receiver.maintenance.reconcile.schedule import ReconcileSchedule
from receiver.maintenance.reconcile.ship24_api import Ship24Api, Wait
from receiver.maintenance.replay import StoredReplay
from receiver.monitoring.alarm_monitor import AlarmMonitor
from receiver.monitoring.health import Health
from receiver.monitoring.mail import MailRoute
from receiver.monitoring.metrics import Metrics
from receiver.monitoring.notifier import AlarmNotifier
from receiver.monitoring.traces import TracedCounters, Traces
from receiver.processes.stopping import Stopping
from receiver.relay.assembly import ConfiguredTarget
from receiver.relay.heartbeat import Heartbeat, LoadedSettings
from receiver.relay.supervisor import FirstRelay, RelayState, Supervisor
from receiver.relay.target_tests import TestTarget, no_relay
from receiver.settings import Settings
from receiver.settings.fingerprints import make_fingerprints
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.reader import Reader
from receiver.web.api.command_context import CommandContext
from receiver.web.api.endpoints import PREFIX, ReadContext
from receiver.web.api.openapi import describe
from receiver.web.api.routes import MAX_LIST_BYTES, ApiRoutes
from receiver.web.body import BodyReader, MemoryBudget
from receiver.web.compression import OpsCompression
from receiver.web.console.delivery_import import DELIVERY_IMPORT_PATH
from receiver.web.console.recover import RECOVER_PATH
from receiver.web.console.routes import CUSTOMER_IMPORT_PATH, make_console
from receiver.web.customers import CustomerEndpoint
from receiver.web.known_tokens import KnownTokens
from receiver.web.lifespan import ServiceLifespan
from receiver.web.limits import MAX_BODY_BYTES, BodyLimits
from receiver.web.paths import TrailingSlash
from receiver.web.refusals import RefusedRequests
from receiver.web.responses import on_client_gone, on_fault, on_http_exception, on_receiver_error
from receiver.web.safety import SafeAnswers
from receiver.web.sender_paths import SenderPaths, make_webhook_routes
from receiver.web.token_uses import TokenUses
from receiver.web.unknown import UnknownPath
from receiver.web.unknown_paths import UnknownPaths
from receiver.web.webhooks import WebhookEndpoint
from receiver.web.wrong_token_audit import WrongTokenAudit
from receiver.writer.client import WriterClient
from receiver.writer.counters import Counters

_ESCAPED = 2  # a JSON text in a JSON string takes up to twice its bytes
_MANY_IDS_BYTES = 64 * 2**10  # for a thousand ids of trackers
_BODY_BYTES = 32 * 2**20  # for the bodies of all requests; at least four of the maximum size


Task = Callable[[], Coroutine[Any, Any, None]]


class _Core(NamedTuple):
    """The objects that most parts of the service share. `targets` are empty without a relay."""

    settings: Settings
    database: Database
    reader: Reader
    counters: Counters
    writer_client: WriterClient
    windows: SetupWindows
    resolver: ClientResolver
    known_tokens: KnownTokens
    unknown_paths: UnknownPaths
    wrong_token_audit: WrongTokenAudit
    operators: OperatorAuth
    targets: tuple[ConfiguredTarget, ...]

    def tasks(self) -> tuple[Task, ...]:
        """Return the background work of these objects."""
        recording = self.wrong_token_audit.run, self.known_tokens.run, self.unknown_paths.run
        return (self.windows.run, self.writer_client.run, *recording)

    def target_names(self) -> list[str]:
        """Return the names of the targets in the settings."""
        return [target.subscription.target for target in self.targets]

    def note_import(self, imported: Imported) -> None:
        """Count a delivery that was brought in, and wake the relay."""
        self.counters.take_import(imported)
        self.writer_client.announce_change()

    def make_import(self) -> DeliveryImport:
        """Return what brings in deliveries."""
        return DeliveryImport(self.writer_client.do, self.settings.sources(), self.settings.max_body_bytes, self.note_import)

    def find_ship24_api(self) -> Callable[[Wait], Ship24Api] | None:
        """Return what makes a client of Ship24's API, or None without a key."""
        key = self.settings.ship24_api_key
        return None if key is None else partial(Ship24Api, self.settings.ship24_api_url, key)


def create_app(
    settings: Settings,
    database: Database,
    channel: socket.socket,
    on_writer_lost: Callable[[], None],
    stopping: Stopping,
    relay: FirstRelay | None = None,
    extra_routes: Sequence[BaseRoute] = (),
    address: tuple[str, int] | None = None,
    traces: Traces | None = None,
) -> ASGIApp:
    """Return the service as an ASGI application.

    `channel` leads to the writing process. `relay` is None without targets and handlers. `address` is the host and the port on
    which it listens, for commands on this machine. With `traces` each delivery and each commit is a span.
    """
    core = _make_core(settings, database, on_writer_lost, relay, Counters() if traces is None else TracedCounters(traces))
    do = core.writer_client.do
    notifier = _make_notifier(settings)
    started_at = clock.to_micros(clock.now())
    monitor = AlarmMonitor(settings.alarm_rules(), database, do, notifier.put, started_at, take_failures=notifier.take_failures)
    supervisor = None if relay is None else Supervisor(relay, do)
    loaded = LoadedSettings(None if address is None else local_url(*address), make_fingerprints(settings))
    heartbeat = Heartbeat(do, core.target_names(), RelayState if supervisor is None else supervisor.state, loaded)
    pruner = Pruner(settings.periods(), do, core.target_names())
    jobs, lookups = _make_reconciliation(core)
    tasks = (*core.tasks(), heartbeat.run, monitor.run, monitor.run_settling, PruneSchedule(pruner).run, jobs.run, lookups.run)
    lifespan = ServiceLifespan(
        settings, database, channel, core.writer_client, core.wrong_token_audit, monitor, notifier, supervisor, tasks, stopping
    )
    guards = _make_request_guards(core)
    webhooks = _make_webhooks(core, guards)
    routes = [
        *make_webhook_routes(webhooks, settings.sources(), traces),
        Route(CUSTOMERS_PATH, CustomerEndpoint(guards[CUSTOMERS_PATH], database, core.writer_client)),
        *_make_monitoring_routes(core, monitor, supervisor),
        *_make_operator_routes(core, pruner, jobs, notifier, no_relay if supervisor is None else supervisor.test),
        *extra_routes,
    ]
    return SenderPaths(_make_application(core, routes, lifespan, guards), webhooks if traces is None else {})


def _make_notifier(settings: Settings) -> AlarmNotifier:
    url, mail = settings.alarm_smtp_url, None
    if url is not None:
        mail = MailRoute(url, settings.alarm_smtp_from, settings.alarm_smtp_to)
    return AlarmNotifier(settings.alarm_url, settings.alarm_command, url_format=settings.notice_format(), mail=mail)


def _make_core(
    settings: Settings, database: Database, on_writer_lost: Callable[[], None], relay: FirstRelay | None, counters: Counters
) -> _Core:
    writer_client = WriterClient(settings.queue_deliveries, settings.commit_timeout_seconds, on_writer_lost, counters)
    windows = SetupWindows(partial(asyncio.to_thread, queries.setup_windows, database))
    resolver = ClientResolver(settings.trusted_proxies, HeaderReader(settings.secrets()), windows)
    wrong_token_audit = WrongTokenAudit(writer_client.do)
    token_uses = TokenUses(writer_client.send)
    return _Core(
        settings,
        database,
        Reader(database),
        counters,
        writer_client,
        windows,
        resolver,
        KnownTokens(settings.tokens(), database, writer_client.do),
        UnknownPaths(writer_client.do),
        wrong_token_audit,
        OperatorAuth(
            *(settings.ops_tokens, settings.ops_read_tokens, resolver),
            *(counters.ops_refused, wrong_token_audit.note, token_uses.note),
        ),
        () if relay is None else relay.targets,
    )


def _make_request_guards(core: _Core) -> dict[str, RequestGuard]:
    """Return the guards of the paths that senders request."""
    settings = core.settings
    wrong_tokens = WrongTokens(settings.tokens(), core.known_tokens.find_removed)
    paths = [(source.name, source.kind, source.path, ("POST", "HEAD")) for source in settings.sources()]
    paths.append(("shiipp", DOWNLOAD, CUSTOMERS_PATH, ("GET", "HEAD")))
    return {
        path: RequestGuard(name, kind, path, methods, settings.access_policy(name), core.resolver, wrong_tokens)
        for name, kind, path, methods in paths
    }


def _make_webhooks(core: _Core, guards: Mapping[str, RequestGuard]) -> dict[str, WebhookEndpoint]:
    """Return the endpoints of the webhooks, by path."""
    bodies = BodyReader(core.settings.max_body_bytes, MemoryBudget(max(_BODY_BYTES, 4 * core.settings.max_body_bytes)))
    shared = bodies, core.writer_client, core.settings.ops_tokens
    return {source.path: WebhookEndpoint(source, guards[source.path], *shared) for source in core.settings.sources()}


def _make_monitoring_routes(core: _Core, monitor: AlarmMonitor, supervisor: Supervisor | None) -> list[BaseRoute]:
    def find_warnings() -> list[Mapping[str, Any]]:
        """Return the alarms that are on, and a relay that does not run."""
        relay = [] if supervisor is None or supervisor.state().is_running else [{"name": "relay"}]
        return [*monitor.on(), *relay]

    health = Health(core.database, core.writer_client, find_warnings)
    metrics = Metrics(
        core.counters,
        core.writer_client,
        core.settings.host,
        core.database,
        core.operators,
        core.reader,
        core.settings.tokens(),
        core.target_names(),
        health.read_checks,
    )
    return [*health.routes(), Route("/metrics", metrics.show)]


def _make_reconciliation(core: _Core) -> tuple[ReconcileJobs, ReconcileSchedule]:
    do, read, database = core.writer_client.do, core.reader.read, core.database
    deliveries = core.make_import()
    runs = ReconcileRuns(do, read, database, deliveries, core.settings.shiipp_new_package)
    jobs = ReconcileJobs(runs, core.find_ship24_api())
    hours = core.settings.ship24_reconcile_hours
    return jobs, ReconcileSchedule(hours, core.find_ship24_api(), do, read, database, deliveries)


def _make_operator_routes(
    core: _Core, pruner: Pruner, jobs: ReconcileJobs, notifier: AlarmNotifier, test_target: TestTarget
) -> list[BaseRoute]:
    """Return the routes of the API and the console."""
    settings, database, operators, reader = core.settings, core.database, core.operators, core.reader
    do, read, sources = core.writer_client.do, reader.read, settings.sources()
    replayer = StoredReplay(do, read, database, core.writer_client.announce_change)
    eraser = Eraser(do, read, database, sources)
    cases = pruner, eraser, replayer, jobs.deliveries, jobs
    tests = notifier.test, test_target
    commands = CommandContext(do, read, database, core.target_names(), core.windows, *cases, *tests)
    reads = ReadContext(database, sources, core.targets, settings.active_sources())
    api = ApiRoutes(operators, reader, reads, commands, partial(describe, sources, CUSTOMERS_PATH))
    console = make_console(
        settings,
        database,
        operators,
        reader,
        core.writer_client,
        core.windows,
        replayer,
        notifier,
        core.targets,
        test_target,
        eraser,
        jobs,
    )
    return [*api.routes(), *console]


def _make_application(
    core: _Core, routes: Sequence[BaseRoute], lifespan: ServiceLifespan, guards: Mapping[str, RequestGuard]
) -> ASGIApp:
    """Return the routes inside the middleware that every request passes: path, framing, size, headers and errors."""
    handlers = {
        HTTPException: on_http_exception,
        ReceiverError: on_receiver_error,
        ClientDisconnect: on_client_gone,
        Exception: on_fault,
    }
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan.run)
    app.router.redirect_slashes = False
    app.router.default = UnknownPath(tuple(guards.values()), core.writer_client, core.unknown_paths, core.counters)
    limits = dict.fromkeys(guards, core.settings.max_body_bytes)
    files = [f"{PREFIX}/{path}" for path in ("customers", "reconcile/ship24/history", "reconcile/shiipp")]
    limits |= dict.fromkeys((*files, CUSTOMER_IMPORT_PATH, DELIVERY_IMPORT_PATH, RECOVER_PATH), MAX_LIST_BYTES)
    limits[f"{PREFIX}/reconcile/ship24"] = _MANY_IDS_BYTES
    limits[f"{PREFIX}/deliveries/import"] = _ESCAPED * core.settings.max_body_bytes + MAX_BODY_BYTES
    inner = RefusedRequests(BodyLimits(app, limits), guards, core.writer_client)
    return SafeAnswers(OpsCompression(TrailingSlash(inner)))
