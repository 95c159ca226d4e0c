"""Assembly: which object gets which, which path leads where. Everything comes from the settings passed in."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Lifespan

from receiver import clock
from receiver.access.guard import ClientResolver, RequestGuard
from receiver.access.headers import HeaderReader
from receiver.access.operators import OperatorAuth
from receiver.access.setup_windows import SetupWindows
from receiver.errors import ReceiverError
from receiver.maintenance.erase import Eraser
from receiver.maintenance.prune import Pruner, PruneSchedule
from receiver.maintenance.replay import StoredReplay
from receiver.monitoring.alarm_monitor import AlarmMonitor
from receiver.monitoring.health import Health
from receiver.monitoring.metrics import Metrics
from receiver.monitoring.notifier import AlarmNotifier
from receiver.processes.stopping import Stopping
from receiver.relay.assembly import ConfiguredTargets
from receiver.relay.heartbeat import Heartbeat
from receiver.relay.supervisor import FirstRelay, RelayState, Supervisor
from receiver.settings import Settings
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.reader import Reader
from receiver.web.api.commands import CommandContext
from receiver.web.api.endpoints import PREFIX, ReadContext
from receiver.web.api.openapi import describe
from receiver.web.api.routes import MAX_LIST_BYTES, ApiRoutes
from receiver.web.body import BodyReader, MemoryBudget
from receiver.web.console.routes import make_console
from receiver.web.customers import CUSTOMERS_PATH, CustomerEndpoint
from receiver.web.limits import BodyLimits
from receiver.web.paths import TrailingSlash
from receiver.web.refusals import RefusedRequests
from receiver.web.responses import on_client_gone, on_fault, on_http_exception, on_receiver_error
from receiver.web.safety import SafeAnswers
from receiver.web.token_uses import TokenUses
from receiver.web.unknown import UnknownPath
from receiver.web.webhooks import WebhookEndpoint
from receiver.web.wrong_tokens import WrongTokens
from receiver.writer.client import WriterClient
from receiver.writer.counters import Counters

_BODY_BYTES = 32 * 2**20  # of all calls that are read or wait; at least four of the largest size allowed

_RELAY_SHARE = 0.7  # of the time to stop, as of when it was asked for
_READS_SHARE = 0.73
_DESK_SHARE = 0.75

_log = structlog.get_logger()


def create_app(
    settings: Settings,
    database: Database,
    channel: socket.socket,
    on_writer_lost: Callable[[], None],
    stopping: Stopping,
    relay: FirstRelay | None = None,
    extra_routes: Sequence[BaseRoute] = (),
) -> ASGIApp:
    """Return the service. `channel` leads to the writing process; `relay` is there where there are targets or handlers."""
    counters = Counters()
    writer_client = WriterClient(settings.queue_deliveries, settings.commit_timeout_seconds, on_writer_lost, counters)
    windows = SetupWindows(partial(asyncio.to_thread, queries.setup_windows, database))
    resolver = ClientResolver(settings.trusted_proxies, HeaderReader(settings.secrets()), windows)
    wrong_tokens = WrongTokens(writer_client.do)
    operators = OperatorAuth(
        settings.ops_tokens, resolver, counters.ops_refused, wrong_tokens.note, TokenUses(writer_client.tell).note
    )
    reader = Reader(database)
    notices = AlarmNotifier(settings.alarm_url, settings.alarm_command)
    watch = AlarmMonitor(settings.alarm_rules(), database, writer_client.do, notices.put, clock.to_micros(clock.now()))
    targets = () if relay is None else relay.targets
    pruner = Pruner(settings.periods(), writer_client.do, _names(targets))
    supervisor = None if relay is None else Supervisor(relay, writer_client.do)
    heartbeat = Heartbeat(writer_client.do, _names(targets), RelayState if supervisor is None else supervisor.state)
    health = Health(database, writer_client, partial(_find_warnings, watch, supervisor))
    metrics = Metrics(counters, writer_client, settings.host, database, operators, reader, _names(targets))
    request_guards = _make_request_guards(settings, resolver)
    routes = [
        *_make_senders_routes(settings, database, request_guards, writer_client),
        *health.routes(),
        Route("/metrics", metrics.show),
        *_make_operators_routes(settings, database, operators, reader, writer_client, windows, targets, pruner),
        *extra_routes,
    ]
    work = (
        windows.run,
        writer_client.run,
        wrong_tokens.run,
        heartbeat.run,
        watch.run,
        watch.run_settling,
        PruneSchedule(pruner).run,
    )
    lifespan = _make_lifespan(
        settings, database, channel, writer_client, work, watch, notices, wrong_tokens, supervisor, stopping
    )
    return _make_asgi(routes, lifespan, request_guards, writer_client, settings.max_body_bytes)


def _make_operators_routes(
    settings: Settings,
    database: Database,
    operators: OperatorAuth,
    reader: Reader,
    writer_client: WriterClient,
    windows: SetupWindows,
    targets: tuple[ConfiguredTargets, ...],
    pruner: Pruner,
) -> list[BaseRoute]:
    """Return the API and the console."""
    do, read, sources = writer_client.do, reader.read, settings.sources()
    replayer = StoredReplay(do, read, database, writer_client.tell_change)
    commands = CommandContext(do, read, database, _names(targets), windows, pruner, Eraser(do, read, database, sources), replayer)
    description = describe(sources, CUSTOMERS_PATH)
    return [
        *ApiRoutes(operators, reader, ReadContext(database, sources, targets), commands, description).routes(),
        *make_console(settings, database, operators, reader, writer_client, windows, replayer),
    ]


def _names(targets: Sequence[ConfiguredTargets]) -> list[str]:
    return [known.subscription.target for known in targets]


def _make_asgi(
    routes: Sequence[BaseRoute],
    lifespan: Lifespan[Starlette],
    request_guards: Mapping[str, RequestGuard],
    writer_client: WriterClient,
    max_body_bytes: int,
) -> ASGIApp:
    """Return what every request passes through: path, framing, routes, and errors in the form that all have."""
    handlers = {
        HTTPException: on_http_exception,
        ReceiverError: on_receiver_error,
        ClientDisconnect: on_client_gone,
        Exception: on_fault,
    }
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.router.default = UnknownPath(tuple(request_guards.values()), writer_client)
    limits = dict.fromkeys(request_guards, max_body_bytes) | {f"{PREFIX}/customers": MAX_LIST_BYTES}
    return SafeAnswers(TrailingSlash(RefusedRequests(BodyLimits(app, limits), request_guards, writer_client)))


def _make_request_guards(settings: Settings, resolver: ClientResolver) -> dict[str, RequestGuard]:
    """Return the paths that senders call."""
    request_guards = {
        source.path: RequestGuard(
            source.name, source.kind, source.path, ("POST", "HEAD"), settings.access_policy(source.name), resolver
        )
        for source in settings.sources()
    }
    return request_guards | {
        CUSTOMERS_PATH: RequestGuard(
            "shiipp", "customers", CUSTOMERS_PATH, ("GET", "HEAD"), settings.access_policy("shiipp"), resolver
        )
    }


def _make_senders_routes(
    settings: Settings, database: Database, request_guards: Mapping[str, RequestGuard], writer_client: WriterClient
) -> list[Route]:
    memory = MemoryBudget(max(_BODY_BYTES, 4 * settings.max_body_bytes))
    bodies = BodyReader(settings.max_body_bytes, memory)
    routes = [
        Route(source.path, WebhookEndpoint(source, request_guards[source.path], bodies, writer_client, settings.ops_tokens))
        for source in settings.sources()
    ]
    return [*routes, Route(CUSTOMERS_PATH, CustomerEndpoint(request_guards[CUSTOMERS_PATH], database, writer_client))]


def _make_lifespan(
    settings: Settings,
    database: Database,
    channel: socket.socket,
    writer_client: WriterClient,
    work: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    watch: AlarmMonitor,
    notices: AlarmNotifier,
    wrong_tokens: WrongTokens,
    supervisor: Supervisor | None,
    stopping: Stopping,
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as ending:  # what began last ends first
            await writer_client.open(channel)
            ending.push_async_callback(_close_writer, writer_client, stopping)
            ending.push_async_callback(_end_reads, database, stopping)
            ending.push_async_callback(wrong_tokens.close)
            ending.push_async_callback(watch.settle)
            notices.start(watch.note_settled)
            ending.push_async_callback(asyncio.to_thread, notices.close)
            for begin in work:
                ending.callback(asyncio.create_task(begin()).cancel)
            if supervisor is not None:
                await ending.enter_async_context(_supervising(supervisor, database, writer_client, stopping))
            _say_what_is_served(settings, database)
            yield
            _log.info("stopping")

    return lifespan


def _find_warnings(watch: AlarmMonitor, supervisor: Supervisor | None) -> list[Mapping[str, Any]]:
    """Return the alarms that are on, and a relay that does not run."""
    lost = [] if supervisor is None or supervisor.state().is_running else [{"name": "relay"}]
    return [*watch.on(), *lost]


async def _end_reads(database: Database, stopping: Stopping) -> None:
    await asyncio.to_thread(database.end_reads, stopping.left(_READS_SHARE))


async def _close_writer(writer_client: WriterClient, stopping: Stopping) -> None:
    await writer_client.close(stopping.left(_DESK_SHARE))


@asynccontextmanager
async def _supervising(
    supervisor: Supervisor, database: Database, writer_client: WriterClient, stopping: Stopping
) -> AsyncIterator[None]:
    """Have the relay run as long as the block lasts; it is asked to finish as soon as the service is."""
    loop = asyncio.get_running_loop()

    def finish() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(supervisor.finish, stopping.left(_RELAY_SHARE))

    supervisor.start(has_one_writer=database.has_one_writer)
    writer_client.watch_changes(supervisor.wake)
    stopping.when_forced(supervisor.kill)
    stopping.when_asked(finish)
    try:
        yield
    finally:
        await supervisor.stop(stopping.left(_RELAY_SHARE))


def _say_what_is_served(settings: Settings, database: Database) -> None:
    for source in NAMES:
        if not settings.access_policy(source).tokens:
            _log.warning("source_off", source=source, setting=f"RECEIVER_{source.upper()}_TOKENS")
    _log.info("serving", host=settings.host, port=settings.port, database=str(database))
