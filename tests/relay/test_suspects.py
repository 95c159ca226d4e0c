"""Suspects, the changes that were in flight when their process died, are delivered one at a time; in simulated time."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from receiver import clock
from receiver.clock import to_micros
from receiver.domain.changes import Change, Subscription
from receiver.errors import StorageUnavailable
from receiver.relay.relay import Relay
from receiver.storage.transactions import Transactions
from receiver.writer.commands.changes import ExchangeChanges, ReleaseChanges
from receiver.writer.executor import CommandExecutor, Do, R, WriterCommand
from tests.harness import ship24
from tests.harness.rows import count_rows, table_rows
from tests.harness.simulated_time import run_simulated
from tests.harness.storage import make_tables
from tests.harness.store import NOW, Store, submission

TRACKERS = ("a", "b", "c")
Taken = list[tuple[str, str, float]]


class SlowHandler:
    """A handler that takes so many seconds for each change, and notes when it took it."""

    runs_foreign_code = True
    timeout_seconds = 10.0

    def __init__(self, name: str, seconds: float, taken: Taken) -> None:
        self.subscription = Subscription(name)
        self._seconds = seconds
        self._taken = taken

    async def deliver(self, change: Change) -> None:
        await asyncio.sleep(self._seconds)
        self._taken.append((self.subscription.target, change.tracker_id, asyncio.get_running_loop().time()))

    async def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    """A database with a change of each tracker for two handlers."""
    make_tables(sqlite_url)
    opened = Store(sqlite_url, [Subscription("hangs"), Subscription("quick")])
    items = [ship24.item(tracker_id=tracker, events=[ship24.event()]) for tracker in TRACKERS]
    opened.inbox.keep([submission(ship24.body(*items))], NOW)
    yield opened
    opened.close()


def exchange_of(store: Store) -> Do:
    executor = CommandExecutor(store.database, Transactions(store.database))

    async def do(command: WriterCommand[R]) -> R:
        return executor.do(command)

    return do


async def crash(do: Do, *handlers: str) -> None:
    """Let a relay die while all changes are in flight."""
    now = to_micros(clock.now())
    for handler in handlers:
        await do(ExchangeChanges(handler, "dead.1", now, now + 1, 10))
    assert await do(ReleaseChanges("dead", now, handlers, crashed=True)) == len(handlers) * len(TRACKERS)


def test_a_handler_with_many_suspects_that_hang_holds_up_no_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: Taken = []

    async def run() -> None:
        do = exchange_of(store)
        await crash(do, "hangs", "quick")
        await Relay([SlowHandler("hangs", 9.0, taken), SlowHandler("quick", 0.1, taken)], do).run_suspects()

    run_simulated(run(), NOW, monkeypatch)
    order = [name for name, _, _ in taken]
    assert order == ["hangs", "quick", "quick", "quick", "hangs", "hangs"]
    times = [at for _, _, at in taken]
    assert times == sorted(times)
    assert times[-1] >= 3 * 9.0, "never two at a time"


def test_a_fault_of_the_database_ends_no_delivery_of_suspects_and_is_no_end_of_their_process(
    store: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: Taken = []
    exchange = exchange_of(store)
    lost = [StorageUnavailable("The result was lost.") for _ in range(4 * len(TRACKERS))]
    faults: list[Exception] = [KeyError("unexpected"), KeyError("unexpected"), *lost]

    async def do(command: WriterCommand[R]) -> R:
        if not isinstance(command, ExchangeChanges) or not command.limit or not faults:
            return await exchange(command)
        if isinstance(faults[0], StorageUnavailable):
            await exchange(command)
        raise faults.pop(0)

    async def run() -> None:
        await crash(exchange, "quick")
        await Relay([SlowHandler("quick", 0.1, taken)], do).run_suspects()

    run_simulated(run(), NOW, monkeypatch)
    assert sorted(tracker for _, tracker, _ in taken) == sorted(TRACKERS)
    assert count_rows(sqlite_url, "dead_changes") == 0
    assert max(at for _, _, at in taken) < 90, "none waits for the ends of leases"


def test_a_relay_that_stops_leaves_a_suspect_under_way_a_suspect(
    store: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        do = exchange_of(store)
        await crash(do, "hangs")
        relay = Relay([SlowHandler("hangs", 9.0, [])], do)
        running = asyncio.create_task(relay.run_suspects())
        await asyncio.sleep(2)
        running.cancel()
        await relay.stop(0)

    run_simulated(run(), NOW, monkeypatch)
    rows = table_rows(sqlite_url, "dispatches", "claim", "unsettled", target="hangs")
    assert [(row["claim"], row["unsettled"]) for row in rows] == [("suspect", 1)] * 3


def test_changes_claimed_after_outcomes_that_were_stored_one_by_one_do_not_wait_for_the_end_of_their_lease(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange with outcomes fails, each outcome is stored, and the result of the exchange without them is lost."""
    taken: Taken = []
    exchange = exchange_of(store)
    steps: list[str] = []

    async def do(command: WriterCommand[R]) -> R:
        if isinstance(command, ExchangeChanges) and command.limit:
            if command.outcomes and not steps:
                steps.append("failed")
                raise ValueError
            if steps == ["failed"]:
                steps.append("lost")
                await exchange(replace(command, limit=1))
                raise StorageUnavailable("The result was lost.")
        return await exchange(command)

    async def run() -> None:
        store.inbox.keep([submission(ship24.body(*map(moved, TRACKERS)))], NOW)
        handler = SlowHandler("quick", 0.1, taken)
        relay = Relay([handler], do)
        relay.start()
        await asyncio.sleep(200)
        await relay.stop(0)

    run_simulated(run(), NOW, monkeypatch)
    assert steps == ["failed", "lost"]
    assert len(taken) == 2 * len(TRACKERS)
    assert max(at for _, _, at in taken) < 30, "a lease is 40 seconds"


def moved(tracker_id: str) -> dict[str, object]:
    return ship24.item(tracker_id=tracker_id, events=[ship24.event(occurrence="2025-03-02T10:00:00")])
