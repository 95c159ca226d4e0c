"""Rejected changes of some trackers hold up no other tracker: an hour of them, in simulated time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from receiver import clock
from receiver.clock import to_micros
from receiver.domain.changes import Change, Subscription
from receiver.errors import StorageUnavailable
from receiver.relay.target import NotAcknowledged, TargetUnavailable
from receiver.relay.target_worker import TargetWorker
from receiver.storage.transactions import Transactions
from receiver.writer.commands.changes import FlushTarget
from receiver.writer.executor import CommandExecutor, Do, R, WriterCommand
from tests.harness import ship24
from tests.harness.rows import table_rows
from tests.harness.simulated_time import run_simulated
from tests.harness.storage import make_tables
from tests.harness.store import NOW, Store, submission

SECONDS = 3600
ROUND_SECONDS = 20


class Shop:
    """A target that takes a change after some time, or raises what `judge` returns: a new error, as it gets longer each time."""

    timeout_seconds = 10.0
    runs_foreign_code = False

    def __init__(self, judge: Callable[[Change], Exception | None]) -> None:
        self.subscription = Subscription("shop")
        self._judge = judge
        self.taken: list[tuple[str, int, float]] = []
        self.calls: Counter[str] = Counter()

    async def deliver(self, change: Change) -> None:
        await asyncio.sleep(0.2)
        self.calls[change.tracker_id] += 1
        if (error := self._judge(change)) is not None:
            raise error
        self.taken.append((change.tracker_id, change.sequence, asyncio.get_running_loop().time()))

    async def close(self) -> None:
        pass


def is_bad(change: Change) -> bool:
    return change.tracker_id.endswith("0")


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    make_tables(sqlite_url)
    opened = Store(sqlite_url, [Subscription("shop")])
    yield opened
    opened.close()


def tell(store: Store, trackers: range, number: int, at: datetime) -> None:
    """Keep a further change of each tracker, as of now."""
    occurrence = (datetime(2025, 3, 1) + timedelta(seconds=number)).isoformat()  # noqa: DTZ001  as a courier writes it
    items = [ship24.item(tracker_id=f"t{tracker}", events=[ship24.event(occurrence=occurrence)]) for tracker in trackers]
    store.inbox.keep([submission(ship24.body(*items))], at)


def exchange_of(store: Store) -> Do:
    executor = CommandExecutor(store.database, Transactions(store.database))

    async def do(command: WriterCommand[R]) -> R:
        return executor.do(command)

    return do


def worker_of(store: Store, shop: Shop) -> TargetWorker:
    return TargetWorker(shop, exchange_of(store), "relay")


def test_a_shop_that_does_not_know_a_tenth_of_its_parcels_gets_all_others_at_once_for_an_hour(
    store: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(lambda change: NotAcknowledged("shop answered 404.") if is_bad(change) else None)
    told: dict[int, float] = {}

    async def run() -> None:
        worker = worker_of(store, shop)
        running = asyncio.create_task(worker.run())
        for number in range(SECONDS // ROUND_SECONDS):
            told[number + 1] = asyncio.get_running_loop().time()
            tell(store, range(50), number, NOW + timedelta(seconds=told[number + 1]))
            worker.wake()
            await asyncio.sleep(ROUND_SECONDS)
        running.cancel()
        await worker.finish(5)

    run_simulated(run(), NOW, monkeypatch)
    rounds = SECONDS // ROUND_SECONDS
    good = [f"t{number}" for number in range(50) if number % 10]
    assert {tracker: [move for of, move, _ in shop.taken if of == tracker] for tracker in good} == {
        tracker: list(range(1, rounds + 1)) for tracker in good
    }
    assert max(at - told[move] for _, move, at in shop.taken) < 2, "none waited for the ones that the shop does not know"
    assert {shop.calls[f"t{number}"] for number in (0, 10, 20, 30, 40)} <= {5, 6}, "5 s, 30 s, 2 min, 10 min, 30 min"
    waiting = table_rows(sqlite_url, "dispatches", "tracker_id")
    assert {row["tracker_id"] for row in waiting} == {"t0", "t10", "t20", "t30", "t40"}


@pytest.mark.parametrize(
    "make_error", [lambda: TargetUnavailable("shop answered 500."), lambda: ValueError("a handler that raises")]
)
def test_a_hundred_trackers_that_always_fail_do_not_keep_the_others_waiting(
    store: Store, monkeypatch: pytest.MonkeyPatch, make_error: Callable[[], Exception]
) -> None:
    shop = Shop(lambda change: make_error() if int(change.tracker_id[1:]) < 100 else None)

    async def run() -> None:
        worker = worker_of(store, shop)
        tell(store, range(100), 0, NOW)
        tell(store, range(100, 120), 0, NOW)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(600)
        running.cancel()
        await worker.finish(5)

    run_simulated(run(), NOW, monkeypatch)
    assert {tracker for tracker, _, _ in shop.taken} == {f"t{number}" for number in range(100, 120)}


def test_a_target_that_is_down_gets_one_change_of_another_tracker_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def judge(change: Change) -> Exception:
        tried.append(change.tracker_id)
        return TargetUnavailable("shop did not answer.")

    async def run() -> None:
        worker = worker_of(store, Shop(judge))
        tell(store, range(40), 0, NOW)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(3000)
        running.cancel()
        await worker.finish(5)

    run_simulated(run(), NOW, monkeypatch)
    probes = tried[32:]
    assert 9 <= len(probes) <= 14, "after 10 s, 30 s, 1 min, 2 min, then each 5 min"
    assert all(earlier != later for earlier, later in pairwise(probes))


def test_a_target_that_is_down_is_tried_at_once_when_an_operator_asks_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_down = True
    shop = Shop(lambda _: TargetUnavailable("shop did not answer.") if is_down else None)
    taken: list[int] = []

    async def run() -> None:
        nonlocal is_down
        worker, do = worker_of(store, shop), exchange_of(store)
        tell(store, range(40), 0, NOW)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(2000)
        is_down = False
        await do(FlushTarget("shop", to_micros(clock.now())))
        worker.wake()
        await asyncio.sleep(8)
        taken.append(len(shop.taken))
        running.cancel()
        await worker.finish(5)

    run_simulated(run(), NOW, monkeypatch)
    assert taken == [40], "without a flush, the next probe comes after five minutes"


def test_a_database_that_is_away_for_an_hour_is_one_line_for_each_cause_and_one_when_it_is_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(lambda _: None)
    exchange, began = exchange_of(store), 0.0

    async def do(command: WriterCommand[R]) -> R:
        seconds = asyncio.get_running_loop().time() - began
        if seconds < SECONDS:
            raise StorageUnavailable("away" if seconds < SECONDS / 2 else "full")
        return await exchange(command)

    async def run() -> None:
        nonlocal began
        began = asyncio.get_running_loop().time()
        failing = TargetWorker(shop, do, "relay")
        running = asyncio.create_task(failing.run())
        tell(store, range(1), 0, NOW)
        await asyncio.sleep(SECONDS + 60)
        running.cancel()
        await failing.finish(5)

    with capture_logs() as logs:
        run_simulated(run(), NOW, monkeypatch)
    assert len(shop.taken) == 1
    told = [(line["event"], line.get("cause")) for line in logs]
    assert told == [("relay_paused", "away"), ("relay_paused", "full"), ("work_resumed", None)]
