"""How long a relay's claim takes: with nothing else in the outbox, and with many changes behind failed ones."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from time import perf_counter
from typing import NamedTuple

from rich.table import Table
from sqlalchemy import Connection, insert

from receiver.clock import to_micros
from receiver.domain.changes import Subscription
from receiver.domain.outbox_rows import DispatchRow
from receiver.storage.outbox import Exchanged, Outbox
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import DispatchTable
from tests.bench import service
from tests.bench.databases import Place
from tests.bench.driven_service import Benchmark
from tests.bench.figures import Latency, summarise
from tests.bench.report import make_table
from tests.harness import ship24
from tests.harness.store import NOW, Store

_TARGET = "shop"
AT_ONCE = 10
_A_TRACKER = 10
_GROUP = 100
_ROWSAT_ONCE = 10_000
_HOUR = 3_600_000_000
_NOW = to_micros(NOW)


class Line(NamedTuple):
    """Claims of one kind on one database. `is_behind`: all changes are there, and marked as behind failed ones."""

    database: str
    state: str
    latency: Latency
    is_behind: bool


def measure(bench: Benchmark, waiting: int, times: int) -> list[Line]:
    """Claim changes of healthy trackers so many times, before and after `waiting` changes are there behind failed ones."""
    lines: list[Line] = []
    for name, on_postgresql in bench.databases():
        bench.tell(f"claims, {name}")
        with bench.places.fresh(on_postgresql=on_postgresql) as place:
            lines += _measure(name, place, waiting, times)
    return lines


def _measure(name: str, place: Place, waiting: int, times: int) -> Iterator[Line]:
    service.run(["receiver", "migrate"], {"RECEIVER_DATABASE_URL": place.url}, place.directory)
    store = Store(place.url, [Subscription(_TARGET)])
    try:
        claims = _Claims(store)
        _add_healthy(store, 2 * times * AT_ONCE)
        yield Line(name, "none behind", claims.take(times), is_behind=False)
        _add_failed(store, waiting)
        yield Line(name, "while it blocks them", claims.block(), is_behind=False)
        yield Line(name, f"{waiting:,} behind", claims.take(times), is_behind=True)
    finally:
        store.close()


class _Claims:
    """Claims changes as a relay does, each in a transaction of its own."""

    def __init__(self, store: Store) -> None:
        self._transactions = store.transactions
        self._outbox = Outbox(store.database)
        self._marks = count()

    def take(self, times: int) -> Latency:
        """Claim due changes so many times. Raises RuntimeError if there are too few."""
        done = [self._time() for _ in range(times)]
        if any(len(exchanged.claimed) != AT_ONCE for _, exchanged in done):
            raise RuntimeError("a claim did not find the changes that are due")
        return summarise(micros for micros, _ in done)

    def block(self) -> Latency:
        """Claim until no change is left that waits for an earlier one and is not marked so. A claim takes what else it finds."""
        took = []
        while True:
            micros, exchanged = self._time()
            took.append(micros)
            if not exchanged.blocked:
                return summarise(took)

    def _time(self) -> tuple[float, Exchanged]:
        began = perf_counter()
        exchanged = self._transactions.run(self._exchange(f"mark-{next(self._marks)}"))
        return (perf_counter() - began) * 1e6, exchanged

    def _exchange(self, mark: str) -> Callable[[Connection], Exchanged]:
        return lambda connection: self._outbox.exchange(connection, _TARGET, mark, _NOW, _NOW + _HOUR, AT_ONCE)


def _add_healthy(store: Store, number: int) -> None:
    """Add trackers with one change each, through the inbox."""
    for _ in range(0, number + _GROUP, _GROUP):  # some more: a claim that blocks others takes a few
        store.keep(ship24.body(*(ship24.item() for _ in range(_GROUP))))


def _add_failed(store: Store, waiting: int) -> None:
    """Add changes that have failed and are due later, and behind them others as the ledger adds them: due at once."""
    rows = list(_make_rows(waiting))
    for start in range(0, len(rows), _ROWSAT_ONCE):
        _insert(store, rows[start : start + _ROWSAT_ONCE])


def _insert(store: Store, rows: Sequence[DispatchRow]) -> None:
    store.transactions.run(
        lambda connection: connection.execute(insert(table_of(DispatchTable)), [row._asdict() for row in rows])
    )


def _make_rows(waiting: int) -> Iterator[DispatchRow]:
    earlier = _NOW - _HOUR
    for number in range(waiting // _A_TRACKER):
        tracker = (_TARGET, "ship24", f"failed-{number}")
        yield DispatchRow(*tracker, 1, "event-1", _NOW + _HOUR, 3, None, "shop answered 500.", earlier)
        for move in range(2, _A_TRACKER + 2):
            yield DispatchRow(*tracker, move, f"event-{move}", earlier, 0, None, None, earlier)


def make_claims_table(lines: Sequence[Line]) -> Table:
    """Return the durations by database and state."""
    table = make_table(("", ""), ("p50\nms", "p99\nms", "max\nms", "claims"))
    for line in lines:
        latency = line.latency
        durations = (f"{value:,.1f}" for value in (latency.p50_ms, latency.p99_ms, latency.max_ms))
        table.add_row(line.database, line.state, *durations, f"{latency.calls:,}")
    return table


def read_figures(lines: Sequence[Line]) -> Iterator[tuple[str, float]]:
    """Give the figures of the report: those with the changes there."""
    for line in lines:
        if line.is_behind:
            yield f"claim {line.database}", line.latency.p99_ms
