"""`/metrics` for Prometheus: counters of this process, and figures from the database.

Every label is a fixed word or a name from the settings. Nothing from outside becomes a label.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from receiver import __version__, clock
from receiver.access.addresses import is_loopback
from receiver.access.bearer import Secret
from receiver.access.operators import OperatorAuth
from receiver.clock import to_micros
from receiver.domain.alarms import Disk
from receiver.domain.processes import RECEIVER, RELAY, Processes
from receiver.domain.tokens import TokenUse
from receiver.errors import ReceiverError
from receiver.logs import setup
from receiver.monitoring.cached import Cached
from receiver.monitoring.health import read_disk
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.reader import Reader
from receiver.writer.client import WriterClient
from receiver.writer.counters import Counters

_DATABASE_SECONDS = 5.0  # one reading of the database serves all scrapes within this time
_LAG_MICROS = 3600 * 1_000_000  # the lag covers the last hour


class MeasuredState(NamedTuple):
    """Figures from the database. Moments are microseconds; lags are seconds by source and quantile."""

    database_bytes: int
    last_deliveries: dict[str, int]
    lags: dict[tuple[str, str], float]
    token_uses: list[tuple[str, TokenUse]]
    alarms: list[tuple[str, str]]
    targets: dict[str, queries.TargetCounts]
    running: Processes
    read_at: int
    disk: Disk | None = None


class Metrics(Collector):
    """The endpoint. It needs an ops token, except for clients on this machine if the service is bound to loopback.

    `tokens` are those in the settings, by source; `targets` are the names of the targets in the settings. `read_checks` returns
    the checks of `/readyz`.
    """

    def __init__(
        self,
        counters: Counters,
        writer_client: WriterClient,
        host: str,
        database: Database,
        operators: OperatorAuth,
        reader: Reader,
        tokens: Mapping[str, Sequence[Secret]],
        targets: Sequence[str],
        read_checks: Callable[[], Awaitable[Mapping[str, bool]]],
    ) -> None:
        self._counters = counters
        self._writer_client = writer_client
        self._open = is_loopback(host)
        self._database = database
        self._operators = operators
        self._reader = reader
        self._tokens = {source: [(token.name, token.fingerprint) for token in own] for source, own in tokens.items()}
        self._targets = targets
        self._read_checks = read_checks
        self._state: MeasuredState | None = None
        self._checks: Mapping[str, bool] = {}
        self._reading = Cached(self._read, _DATABASE_SECONDS)
        self._page = Cached(self._render)
        counters.registry.register(self)
        ProcessCollector(registry=counters.registry)

    async def show(self, request: Request) -> Response:
        """Return all metrics. A request through a proxy does not count as one from this machine."""
        through_proxy = any(name in request.headers for name in ("x-forwarded-for", "forwarded"))
        if not self._open or through_proxy:
            self._operators.identify(request, "metrics")
        return Response(await self._page.get(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def _render(self) -> bytes:
        self._state, self._checks = await self._reading.get(), await self._read_checks()
        return generate_latest(self._counters.registry)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, for the registry."""
        counters = self._counters
        yield _gauge("receiver_info", "Version of the service", {(__version__,): 1}, "version")
        yield _counter("receiver_calls", "Deliveries by response status", counters.deliveries, "source", "status")
        yield _counter("receiver_refused", "Deliveries that were rejected or invalid", counters.refused, "source", "code")
        yield _counter("receiver_unauthorized", "Deliveries without a valid token, by cause", counters.causes, "source", "cause")
        yield _counter("receiver_unknown_paths", "POST requests to paths that do not exist", {(): counters.unknown_paths})
        yield _counter("receiver_ops_refused", "Requests with a wrong ops token", counters.ops_refused, "area", "code")
        yield _counter("receiver_messages", "Messages by outcome", counters.messages, "source", "outcome")
        brought_in = "Messages brought in through this service, by outcome"
        yield _counter("receiver_imported_messages", brought_in, counters.imported, "source", "origin", "outcome")
        dropped = {(): setup.count_dropped() + counters.writer_lines_dropped}
        yield _counter("receiver_log_lines_dropped", "Log lines that could not be written", dropped)
        undecidable = "Messages and deliveries that this service failed to process"
        yield _counter("receiver_undecidable", undecidable, counters.undecidable, "source")
        yield _gauge("receiver_queue_deliveries", "Deliveries waiting for their commit", {(): self._writer_client.waiting()})
        limit = {(): self._writer_client.max_waiting}
        yield _gauge("receiver_queue_limit_deliveries", "Deliveries that may wait; more are answered 503", limit)
        checks = {(name,): float(passed) for name, passed in self._checks.items()}
        yield _gauge("receiver_check_passed", "1 for each check of /readyz that passes, else 0", checks, "check")
        yield _gauge(
            "receiver_database_up", "1 if the last query of the database succeeded, else 0", {(): float(self._state is not None)}
        )
        if self._state is not None:
            yield from describe_state(self._state)

    async def _read(self) -> MeasuredState | None:
        try:
            return await self._reader.read(read_state, self._database, self._tokens, self._targets, to_micros(clock.now()))
        except ReceiverError:
            return None


def read_state(
    database: Database, tokens: Mapping[str, Sequence[tuple[str, str | None]]], targets: Sequence[str], now: int
) -> MeasuredState:
    """Read the figures. `tokens` are names and fingerprints by source, `now` is in microseconds. Raises StorageUnavailable."""
    last_deliveries: dict[str, int] = {}
    lags: dict[tuple[str, str], float] = {}
    with database.read() as connection:
        for source in NAMES:
            last_delivery = queries.read_last_delivery(connection, source)
            if last_delivery is not None:
                last_deliveries[source] = to_micros(datetime.fromisoformat(last_delivery))
            lag = queries.read_lag(connection, source, now - _LAG_MICROS, now)
            lags |= {(source, f"0.{share}"): value for share in (50, 90, 99) if (value := lag[f"p{share}_seconds"]) is not None}
    alarms = [(alarm["name"], alarm["subject"]) for alarm in queries.list_alarms(database, only_on=True)]
    targets_counts = queries.count_changes(database, targets)
    running = queries.read_processes(database, now)
    uses = [(source, use) for source, named in tokens.items() for use in queries.describe_tokens(database, source, named)]
    return MeasuredState(
        database.size_bytes(), last_deliveries, lags, uses, alarms, targets_counts, running, now, read_disk(database)
    )


def describe_state(state: MeasuredState) -> Iterator[Metric]:
    """Yield the metrics that are read from the database."""
    yield _gauge("receiver_database_bytes", "Size of the database on disk", {(): state.database_bytes})
    if state.disk is not None:
        yield from _describe_disk(state.disk)
    last_deliveries = {(source,): at / 1e6 for source, at in state.last_deliveries.items()}
    yield _gauge(
        "receiver_last_call_timestamp_seconds", "Time of the last accepted delivery of a source", last_deliveries, "source"
    )
    yield _gauge("receiver_lag_seconds", "Delay between event and arrival in the last hour", state.lags, "source", "quantile")
    uses = {(source, use.name): use.used_at / 1e6 for source, use in state.token_uses if use.used_at is not None}
    yield _gauge(
        "receiver_token_last_use_timestamp_seconds",
        "Time of the last request authenticated with a token",
        uses,
        "source",
        "token",
    )
    yield _gauge("receiver_alarm", "1 for each alarm that is on", dict.fromkeys(state.alarms, 1), "alarm", "subject")
    running = {(RECEIVER,): len(state.running.receivers), (RELAY,): len(state.running.relays)}
    yield _gauge("receiver_processes", "Processes on this database, seen in the last two minutes", running, "role")
    yield from _describe_targets(state.targets, state.read_at)


def _describe_disk(disk: Disk) -> Iterator[Metric]:
    """Yield the space of the disk under a SQLite database."""
    yield _gauge("receiver_disk_free_bytes", "Free space of the disk under a SQLite database", {(): disk.free_bytes})
    yield _gauge("receiver_disk_bytes", "Size of the disk under a SQLite database", {(): disk.total_bytes})


def _describe_targets(targets: Mapping[str, queries.TargetCounts], now: int) -> Iterator[Metric]:
    """Yield the waiting and failed changes of each target. Counting stops at 10,001."""
    waiting = {(name,): counts.waiting for name, counts in targets.items()}
    yield _gauge("receiver_target_waiting", "Changes waiting for a target, counted up to 10,001", waiting, "target")
    ages = {(name,): 0.0 if c.oldest_due_at is None else max(0, now - c.oldest_due_at) / 1e6 for name, c in targets.items()}
    yield _gauge("receiver_target_oldest_age_seconds", "Age of the oldest change waiting for a target", ages, "target")
    failed = {(name,): counts.failed for name, counts in targets.items()}
    yield _gauge("receiver_target_failures", "Waiting changes whose last attempt failed, counted up to 10,001", failed, "target")
    dead = {(name,): counts.dead for name, counts in targets.items()}
    yield _gauge("receiver_target_dead", "Dead-lettered changes of a target, counted up to 10,001", dead, "target")


def _counter(name: str, help_: str, values: Mapping[Any, int], *labels: str) -> Metric:
    family = CounterMetricFamily(name, help_, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric([str(part) for part in key], value)
    return family


def _gauge(name: str, help_: str, values: Mapping[Any, float], *labels: str) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(list(key), value)
    return family
