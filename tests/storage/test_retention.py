"""Pruning by age never lets an old message take effect again, and never holds up the writer for long."""

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import chain, repeat
from random import Random
from threading import Barrier
from typing import Protocol

import pytest
from sqlalchemy import insert
from structlog.testing import capture_logs

from receiver import clock
from receiver.clock import new_id, to_micros
from receiver.domain.records import Submission
from receiver.domain.retention import (
    DAY,
    KINDS,
    MAX_SIZE,
    MIN_SIZE,
    TARGET_SECONDS,
    PruneBatch,
    PruneRun,
    PruneStep,
    Removed,
    RetentionPeriods,
    next_size,
    pause_seconds,
    units_of,
)
from receiver.errors import AlreadyRunning, ConfigurationError, ReadingFailed, StorageUnavailable, Unauthorized, UnexpectedShape
from receiver.maintenance.prune import Pruner, PruneSchedule
from receiver.settings import load
from receiver.sources import intake, make_sources
from receiver.storage import queries
from receiver.storage.retention import LEASE_MICROS, count_prunable, count_rows
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import DeadTable, DeliveredTable
from receiver.writer.commands.removal import ClaimPruning, Prune, ReleasePruning
from receiver.writer.executor import R, WriterCommand
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.rows import Row, read_rows, table_rows
from tests.harness.service import DEADLINE_SECONDS, wait_until
from tests.harness.storage import make_tables
from tests.harness.store import NOW, Store, delivery, opened, outcomes
from tests.harness.table import each_row

THEN = to_micros(NOW)
LATER = THEN + 1_000_000
"""A second after everything that these tests keep: all of it is older than that."""

PERIODS = RetentionPeriods(bodies_days=90, refused_days=30, changes_days=20, delivered_days=10)


class Shop:
    """A database of deliveries of the same moment, and its pruner."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.database = store.database
        self.url = store.database.url.render_as_string(hide_password=False)
        self.do = store.executor.do

    def prune_step(self, mark: str, now: int, kind: str, size: int = 50) -> PruneBatch:
        return self.do(Prune(mark, now, PruneStep(kind, LATER, size)))

    def prune(self, cutoffs: dict[str, int], size: int | None = None, now: int = LATER) -> dict[str, Removed]:
        """Prune to the end, as a service with one target does."""
        self.do(ClaimPruning("mark", now))
        run = PruneRun(cutoffs, ["shop"])
        while (order := run.next_step()) is not None:
            run.record(self.do(Prune("mark", now, order._replace(size=size or order.size))))
        self.do(ReleasePruning("mark"))
        return run.removed

    def rows(self, table: str, *columns: str, order: str = "") -> list[Row]:
        return table_rows(self.url, table, *columns, order=order)

    def count(self, table: str) -> int:
        return len(self.rows(table))

    def keep_late(self, body: bytes) -> None:
        """Store a delivery that arrived half a second after the others."""
        at = NOW + timedelta(milliseconds=500)
        late = delivery(body)._replace(id=new_id(at), received_at=to_micros(at))
        self.store.inbox.keep([intake.parse_delivery(make_sources({}, {})[0], late)], at)

    def refuse(self, received: int = 0, outcome: str = "refused") -> str:
        """Store a rejected delivery; return its id."""
        call = delivery(b"")
        error = {"refused": Unauthorized, "unreadable": UnexpectedShape, "failed": ReadingFailed}[outcome]("No.")
        self.store.inbox.keep([Submission(call, error=error, served=received)], NOW)
        return call.id

    def bury(self, number: int, died_at: int = THEN) -> None:
        """Set changes aside as dead."""
        row = {"target": "shop", "source": "ship24", "tracker_id": "t", "event_id": "e", "attempts": 3, "error": "no"}
        rows = [{**row, "move": self.count("dead_changes") + place, "died_at": died_at} for place in range(number)]
        self.store.transactions.run(lambda connection: connection.execute(insert(table_of(DeadTable)), rows))

    def deliver(self, number: int, target: str = "shop", delivered_at: int = THEN) -> None:
        """Record changes as delivered."""
        row = {"target": target, "source": "ship24", "tracker_id": "t", "change_id": "c", "attempts": 1, "status": 200}
        rows = [{**row, "move": self.count("delivered_changes") + place, "delivered_at": delivered_at} for place in range(number)]
        self.store.transactions.run(lambda connection: connection.execute(insert(table_of(DeliveredTable)), rows))


@contextmanager
def open_shop(url: str) -> Iterator[Shop]:
    with opened(url) as store:
        yield Shop(store)


@pytest.fixture
def shop(database_url: str) -> Iterator[Shop]:
    make_tables(database_url)
    with open_shop(database_url) as opened_shop:
        yield opened_shop


# Pure


def test_each_kind_goes_after_its_own_days_and_zero_is_for_ever() -> None:
    now = 1000 * DAY
    assert PERIODS.cutoffs(now) == {
        "bodies": 910 * DAY,
        "quarantine": 910 * DAY,
        "refused": 970 * DAY,
        "dead_changes": 980 * DAY,
        "delivered_changes": 990 * DAY,
    }
    assert RetentionPeriods(0, 30, 0, 0).cutoffs(now) == {"refused": 970 * DAY}
    assert RetentionPeriods(10**9, 30, 0, 0).cutoffs(now)["bodies"] == 0  # older than 1970 is nothing


def test_retention_periods_are_shown_in_words() -> None:
    words = "bodies 90 days, rejected requests for ever, dead changes 20 days, records of delivered changes 10 days"
    assert RetentionPeriods(90, 0, 20, 10).describe() == words


@each_row(
    ("units", "seconds", "expected"),
    [
        pytest.param(100, TARGET_SECONDS, 100, id="as long as it should: stays"),
        pytest.param(100, TARGET_SECONDS / 10, 200, id="quick: twice as many, not ten times"),
        pytest.param(100, 0.0, 200, id="too quick for the clock"),
        pytest.param(100, TARGET_SECONDS * 2, 50, id="slow: in proportion"),
        pytest.param(100, 60.0, MIN_SIZE, id="a stall: never nothing"),
        pytest.param(MAX_SIZE, 0.0, MAX_SIZE, id="never more than fits"),
        pytest.param(1300, TARGET_SECONDS * 2, MAX_SIZE, id="one large body says little about small ones"),
        pytest.param(3, 0.0, MIN_SIZE, id="from little done nothing is learnt"),
    ],
)
def test_the_next_slice_is_as_large_as_the_last_one_was_quick(units: int, seconds: float, expected: int) -> None:
    assert next_size(units, seconds) == expected


def test_between_batches_of_a_prune_deliveries_have_most_of_the_time() -> None:
    assert pause_seconds(0.05) >= 4 * 0.05
    assert pause_seconds(0) > 0


def test_a_row_costs_by_its_content_too() -> None:
    assert [units_of(size) for size in (0, 4095, 4096, 5_242_880)] == [1, 1, 2, 1281]


@each_row("days", [0, 7, 99_999])
def test_the_mark_of_a_run_carries_its_period(days: int) -> None:
    mark = PERIODS._replace(bodies_days=days).name_run("0192-ab")
    assert PERIODS.of_run(mark) == PERIODS._replace(bodies_days=days)


@each_row("mark", ["", "0192-ab", "0192-ab.", "0192-ab.-7", "0192-ab.7d", "0192-ab.\u00b2", "0192-ab.\u0667", "0192-ab.100000"])
def test_a_mark_of_another_form_changes_no_period(mark: str) -> None:
    assert PERIODS.of_run(mark) == PERIODS


def test_a_run_goes_kind_by_kind_and_adds_up() -> None:
    run = PruneRun({"bodies": 5, "refused": 7})
    first = run.next_step()
    assert first is not None
    assert (first.kind, first.cutoff) == ("bodies", 5)
    run.record(PruneBatch(10, 1000, 200, more=True, seconds=TARGET_SECONDS))
    assert run.next_step() == PruneStep("bodies", 5, 200)
    run.record(PruneBatch(1, 1, 40, more=False, seconds=TARGET_SECONDS * 2))
    assert run.next_step() == PruneStep("refused", 7, 20)
    run.record(PruneBatch(0, 0, 0, more=False))
    assert run.next_step() is None
    assert run.removed == {"bodies": Removed(11, 1001), "refused": Removed(0, 0)}
    assert (run.batches, run.longest_seconds) == (3, TARGET_SECONDS * 2)
    assert PruneRun({"dead_changes": 1}, ["shop"]).next_step() == PruneStep("dead_changes", 1, 100, ("shop",))


# In storage


def test_bodies_go_and_a_resend_is_still_a_duplicate(shop: Shop) -> None:
    body = ship24.body(ship24.item("m-1", "t-1", [ship24.event("e-1")]), ship24.item("m-2", "t-2"))
    assert outcomes(shop.store.keep(body)[0]) == ["applied", "applied"]
    state = shop.rows("trackers", order="tracker_id")
    assert shop.prune({"bodies": LATER})["bodies"].rows == 1
    assert shop.count("bodies") == 0
    again = ship24.body(ship24.item("m-3", "t-1", [ship24.event("e-1")], generated_at=None))
    assert outcomes(shop.store.keep(body)[0]) == ["duplicate", "duplicate"]
    assert outcomes(shop.store.keep(again)[0]) == ["duplicate"]  # another message with the same event
    assert shop.rows("trackers", order="tracker_id") == state
    assert (shop.count("events"), shop.count("deliveries")) == (2, 3)


def test_superseded_versions_and_stored_changes_outlive_the_bodies(shop: Shop) -> None:
    def version(message_id: str, event_id: str, day: int, built: int) -> ship24.Item:
        said = ship24.event(event_id, f"2025-03-{day:02}", status=f"day {day}")
        return ship24.item(message_id, "t", [said], f"2025-04-{built:02}T00:00:00Z")

    items = [version("m-1", "a", 8, 1), version("m-2", "b", 12, 2), version("m-3", "b", 7, 3)]
    for each in items:
        shop.store.keep(ship24.body(each))
    tables = ("trackers", "events", "superseded_events", "kept_changes")
    before = [shop.rows(table) for table in tables]
    assert all(before)
    assert shop.prune({"bodies": LATER})["bodies"].rows == 3
    assert outcomes(shop.store.keep(ship24.body(*items))[0]) == ["duplicate"] * 3
    assert [shop.rows(table) for table in tables] == before
    again = version("m-4", "b", 12, 4)
    assert outcomes(shop.store.keep(ship24.body(again))[0]) == ["applied"]


def test_what_is_younger_than_the_edge_stays(shop: Shop) -> None:
    shop.store.keep(ship24.single())
    shop.refuse()
    shop.bury(1)
    cutoffs = dict.fromkeys(KINDS, THEN)
    assert set(shop.prune(cutoffs).values()) == {Removed()}
    assert [shop.count(table) for table in ("bodies", "deliveries", "dead_changes")] == [2, 2, 1]


def test_the_content_that_was_deleted_is_counted(shop: Shop) -> None:
    shop.store.keep(ship24.single())
    (stored,) = read_rows(shop.url, "SELECT length(body) + length(answer) AS packed_bytes FROM bodies")
    assert shop.prune({"bodies": LATER})["bodies"] == Removed(1, stored["packed_bytes"])


def test_bytes_in_quarantine_go_and_the_reason_stays(shop: Shop) -> None:
    shop.store.keep(ship24.body("not an object", ship24.item(events=[ship24.event(occurrence="soon")])))
    assert shop.prune({"quarantine": LATER})["quarantine"].rows == 2
    left = {row["reason"]: len(row["raw"]) for row in shop.rows("quarantine")}
    assert left == {"bad_occurrence": 0, "not_an_object": 0}
    assert [item["raw_bytes"] for item in queries.list_quarantine(shop.database).items] == [0, 0]


def test_rejected_deliveries_are_deleted_whole_and_accepted_ones_stay(shop: Shop) -> None:
    kept = {shop.refuse(outcome="unreadable"), shop.refuse(received=2), shop.refuse(outcome="failed")}
    gone = {shop.refuse() for _ in range(3)}
    shop.store.keep(ship24.single("kept"))
    assert shop.prune({"refused": LATER})["refused"] == Removed(3, 0)
    left = {row["id"] for row in shop.rows("deliveries", "id")}
    assert kept < left
    assert not gone & left
    assert {row["delivery_id"] for row in shop.rows("bodies", "delivery_id")} == left


def test_dead_changes_go_by_when_they_died(shop: Shop) -> None:
    for place in range(MIN_SIZE * 2):
        shop.bury(1, died_at=THEN - place)
    shop.bury(3, died_at=LATER)
    assert shop.prune({"dead_changes": LATER}, size=MIN_SIZE)["dead_changes"].rows == MIN_SIZE * 2
    assert shop.count("dead_changes") == 3


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_slices_of_every_size_leave_nothing_behind(shop: Shop, size: int) -> None:
    """Also if rows that stay are between those that are deleted, and some are larger than a batch."""
    for place in range(7):
        shop.store.keep(ship24.body(*["x" * (9000 if place % 2 else 1)] * 2, ship24.item()))
        shop.refuse(outcome="unreadable" if place % 3 else "refused")
    shop.prune({"quarantine": LATER}, size=size)
    shop.keep_late(ship24.body("one more"))  # behind rows that are empty by now
    removed = shop.prune(dict.fromkeys(KINDS, LATER), size=size)
    rows = {kind: gone.rows for kind, gone in removed.items() if gone.rows}
    assert rows == {"bodies": 15, "quarantine": 1, "refused": 3}
    assert shop.count("bodies") == 0
    assert count_rows(shop.database) == dict.fromkeys(KINDS, 0)


def test_records_of_delivered_changes_are_pruned_target_by_target(shop: Shop) -> None:
    shop.deliver(2 * MIN_SIZE + 1, "a", THEN - 5)
    shop.deliver(1, "b")
    shop.deliver(2, "b", LATER)
    before = count_prunable(shop.database, {"delivered_changes": LATER})
    removed = shop.prune({"delivered_changes": LATER}, size=MIN_SIZE)
    assert (before, removed["delivered_changes"].rows) == (removed, 2 * MIN_SIZE + 2)
    assert count_rows(shop.database)["delivered_changes"] == 2


def test_a_slice_is_bounded_by_rows_and_by_bytes(shop: Shop) -> None:
    for _ in range(6):
        shop.store.keep(ship24.single())
    shop.keep_late(Random(1).randbytes(40_000))  # no smaller if it is packed
    shop.do(ClaimPruning("mark", LATER))
    first = shop.prune_step("mark", LATER, "bodies", 4)
    assert (first.rows, first.units, first.more) == (4, 4, True)
    second = shop.prune_step("mark", LATER, "bodies", 4)
    assert (second.rows, second.units, second.more) == (2, 2, True)  # the large one does not fit any more
    third = shop.prune_step("mark", LATER, "bodies", 4)
    assert (third.rows, third.units, third.more) == (1, 10, False)  # but alone it has to


def test_what_was_reached_is_not_looked_at_again(shop: Shop) -> None:
    for _ in range(3):
        shop.refuse(outcome="unreadable")
    shop.prune({"refused": LATER})
    shop.do(ClaimPruning("mark", LATER))
    done = shop.prune_step("mark", LATER, "refused")
    assert (done.rows, done.content_bytes, done.units, done.more) == (0, 0, 0, False)


def test_what_would_go_is_what_goes(shop: Shop) -> None:
    shop.store.keep(ship24.single(), ship24.body("odd", "odd too"))
    shop.refuse()
    shop.refuse(outcome="unreadable")
    shop.bury(2)
    cutoffs = dict.fromkeys(KINDS, LATER)
    assert count_rows(shop.database) == {"bodies": 4, "quarantine": 2, "refused": 1, "dead_changes": 2, "delivered_changes": 0}
    counted = count_prunable(shop.database, cutoffs)
    assert count_prunable(shop.database, dict.fromkeys(KINDS, THEN)) == dict.fromkeys(KINDS, Removed())
    assert shop.count("bodies") == 4  # nothing is deleted by count
    assert shop.prune(cutoffs) == counted


def test_one_prunes_at_a_time(shop: Shop) -> None:
    shop.store.keep(ship24.single())
    shop.do(ClaimPruning("first", LATER))
    with pytest.raises(AlreadyRunning):
        shop.do(ClaimPruning("second", LATER))
    with pytest.raises(AlreadyRunning):
        shop.prune_step("second", LATER, "bodies")
    assert shop.count("bodies") == 1
    shop.do(ReleasePruning("second"))  # not theirs to release
    assert shop.prune_step("first", LATER, "bodies").rows == 1
    shop.do(ReleasePruning("first"))
    shop.do(ClaimPruning("second", LATER))


def test_a_claim_ends_with_its_lease_and_each_slice_makes_that_longer(shop: Shop) -> None:
    shop.store.keep(ship24.single())
    shop.do(ClaimPruning("first", LATER))
    soon = LATER + LEASE_MICROS
    shop.prune_step("first", soon, "dead_changes")
    with pytest.raises(AlreadyRunning):
        shop.do(ClaimPruning("second", soon + LEASE_MICROS))
    shop.do(ClaimPruning("second", soon + LEASE_MICROS + 1))
    with pytest.raises(AlreadyRunning):
        shop.prune_step("first", soon, "bodies")
    assert shop.count("bodies") == 1


def test_of_two_processes_that_begin_at_once_one_prunes(postgresql_url: str) -> None:
    make_tables(postgresql_url)

    def claim(shop: Shop, at_once: Barrier) -> bool:
        at_once.wait(DEADLINE_SECONDS)
        try:
            shop.do(ClaimPruning(str(id(shop)), LATER))
        except AlreadyRunning:
            return False
        return True

    with open_shop(postgresql_url) as one, open_shop(postgresql_url) as other, ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            at_once = Barrier(2)
            tries = [threads.submit(claim, shop, at_once) for shop in (one, other)]
            assert sorted(each.result(DEADLINE_SECONDS) for each in tries) == [False, True]
            for shop in (one, other):
                shop.do(ReleasePruning(str(id(shop))))


# By schedule


class DoHere(Protocol):
    def __call__(self, command: WriterCommand[R]) -> R: ...


def rounds(do: DoHere, number: int, leads: Iterable[float] = repeat(0.0), **seconds: float) -> None:
    """Let a pruner run until it has begun so many rounds; `leads` is how far ahead the clock is each time that it looks."""
    begun = asyncio.Event()
    left = [number]

    async def counted(command: WriterCommand[R]) -> R:
        if isinstance(command, ClaimPruning):
            left[0] -= 1
            if left[0] == 0:
                begun.set()
                await asyncio.sleep(3600)  # until this is cancelled
        return await asyncio.to_thread(do, command)

    async def run() -> None:
        times = {"first_seconds": 0.0, "every_seconds": 0.0, "again_seconds": 0.0, **seconds}
        read_lead = iter(leads).__next__
        task = asyncio.create_task(PruneSchedule(Pruner(PERIODS, counted), **times, read_lead=read_lead).run())
        await asyncio.wait_for(begun.wait(), DEADLINE_SECONDS)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_a_round_prunes_what_is_old_and_says_so(shop: Shop) -> None:
    for _ in range(3):
        shop.store.keep(ship24.single())
    with capture_logs() as logs:
        rounds(shop.do, 3)
    assert shop.count("bodies") == 0
    (told,) = logs  # the second round had nothing to do, and says nothing
    assert (told["event"], told["bodies"]) == ("data_pruned", 3)
    assert told["content_bytes"] > 0


def test_a_round_that_fails_is_logged_and_the_next_one_follows(shop: Shop) -> None:
    shop.store.keep(ship24.single())
    faults = iter([StorageUnavailable("The database is away."), ZeroDivisionError("a bug")])

    def do(command: WriterCommand[R]) -> R:
        if isinstance(command, Prune):
            fault = next(faults, None)
            if fault is not None:
                raise fault
        return shop.do(command)

    with capture_logs() as logs:
        rounds(do, 4)
    assert [told["event"] for told in logs] == ["pruning_failed", "pruning_failed", "data_pruned", "work_resumed"]
    assert shop.count("bodies") == 0


def test_nothing_is_pruned_right_after_the_clock_was_turned(shop: Shop) -> None:
    shop.store.keep(ship24.single())
    year = 365 * 86_400.0
    with capture_logs() as logs:
        rounds(shop.do, 2, leads=chain([0.0, year], repeat(year + 0.5)))
    assert [told["event"] for told in logs] == ["pruning_postponed", "data_pruned"]


def test_if_another_process_prunes_the_next_try_comes_sooner(shop: Shop) -> None:
    now = to_micros(clock.now())
    shop.do(ClaimPruning("somebody", now))
    with capture_logs() as logs:
        rounds(shop.do, 3, every_seconds=3600)
    assert logs == []


def test_the_service_prunes_by_itself(service: StartService, database_url: str) -> None:
    make_tables(database_url)
    young = ship24.single("young")
    with opened(database_url) as store:
        store.keep(ship24.single("old"))
    running = service(database_url)
    assert running.post(young).outcomes() == ["applied"]
    wait_until(lambda: running.count("bodies") == 1, "the old body goes")
    assert running.post(ship24.single("old")).outcomes() == ["duplicate"]
    assert running.post(young).outcomes() == ["duplicate"]
    wait_until(lambda: '"data_pruned"' in running.logs(), "it is told")


def test_to_keep_for_ever_keeps(service: StartService, sqlite_url: str) -> None:
    make_tables(sqlite_url)
    with opened(sqlite_url) as store:
        store.keep(ship24.single("old"))
        call = delivery(b"")._replace(id=new_id(NOW - timedelta(days=1)))
        store.inbox.keep([Submission(call, error=Unauthorized("No."))], NOW)
    running = service(sqlite_url, body_retention_days="0")
    wait_until(lambda: '"data_pruned"' in running.logs(), "a round is over")
    assert running.count("deliveries") == 1
    assert running.count("bodies") == 1


def test_the_days_are_settings() -> None:
    assert load({}).periods() == RetentionPeriods(90, 30, 30, 30)
    given = {"BODY": "0", "REFUSED": "7", "CHANGE": "400", "DELIVERED": "3"}
    assert load({f"RECEIVER_{name}_RETENTION_DAYS": days for name, days in given.items()}).periods() == RetentionPeriods(
        0, 7, 400, 3
    )
    with pytest.raises(ConfigurationError, match="RECEIVER_REFUSED_RETENTION_DAYS"):
        load({"RECEIVER_REFUSED_RETENTION_DAYS": "-1"})
