"""The service looks up silent trackers by itself."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from receiver.access.bearer import Secret
from receiver.clock import now, to_micros
from receiver.maintenance.bring_in import DeliveryImport
from receiver.maintenance.reconcile.schedule import ReconcileSchedule
from receiver.maintenance.reconcile.ship24_api import Ship24Api, Wait
from receiver.storage.database import Database
from receiver.storage.queries.reconciliation import count_found
from receiver.storage.queries.silent_trackers import list_silent
from receiver.writer.executor import WriterCommand
from tests.harness.command import run_command
from tests.harness.rows import table_rows
from tests.harness.service import environment, wait_until
from tests.harness.ship24 import Item, body, event, item
from tests.harness.ship24_api import KEY, FakeShip24, fake_ship24, say, say_text
from tests.harness.storage import make_tables, update_rows
from tests.harness.store import MAX_BYTES, SOURCES, importing, opened

R = TypeVar("R")
HOUR = 3_600_000_000


@pytest.fixture
def vendor() -> Iterator[FakeShip24]:
    with fake_ship24() as running:
        yield running


def step(url: str, vendor: FakeShip24) -> float:
    """Take a step of the schedule, as `run` does; return the seconds until the next one."""
    with scheduled(url, vendor, lambda _seconds: None) as schedule:
        return asyncio.run(schedule.look_up_next())


@contextmanager
def scheduled(url: str, vendor: FakeShip24, wait: Wait | None, **seconds: float) -> Iterator[ReconcileSchedule]:
    """Give a schedule. Its client of the API waits with `wait`; None: until the schedule stops."""
    with importing(url) as (database, executor):

        async def do(command: WriterCommand[R]) -> R:
            return executor.do(command)

        def make_api(wait_for_stop: Wait) -> Ship24Api:
            return Ship24Api(vendor.url, Secret("api key", KEY), wait or wait_for_stop)

        deliveries = DeliveryImport(do, SOURCES, MAX_BYTES)
        yield ReconcileSchedule(24, make_api, do, _read, database, deliveries, **seconds)


async def _read(query: Any, *arguments: Any) -> Any:
    return query(*arguments)


@pytest.fixture
def url(sqlite_url: str) -> str:
    make_tables(sqlite_url)
    return sqlite_url


def travel(name: str, count: int = 2) -> list[Item]:
    return [
        item(f"{name}-{number}", name, [event(f"{name}-event-{number}", f"2025-05-0{number}T10:00:00")])
        for number in range(1, count + 1)
    ]


def arrive(url: str, *messages: Item, silent_hours: int) -> None:
    """Let messages arrive so many hours ago."""
    with opened(url) as store:
        store.keep(body(*messages))
    moved_at = to_micros(now()) - silent_hours * HOUR
    for message in messages:
        update_rows(url, "trackers", {"tracker_id": message["tracker"]["trackerId"]}, moved_at=moved_at)


def looked_up(vendor: FakeShip24) -> list[str]:
    return [call.split("/")[2] for call in vendor.asked("results")]


def test_the_longest_unseen_is_looked_up_first_and_each_only_once_in_the_time(url: str, vendor: FakeShip24) -> None:
    for name, hours in (("b", 40), ("c", 90), ("a", 30), ("recent", 2)):
        arrive(url, vendor.add(name).send(travel(name, 1)[0]), silent_hours=hours)
    delivered = item("d", "delivered", [event("d", statusMilestone="delivered")])
    arrive(url, vendor.add("delivered").send(delivered), silent_hours=99)
    pauses = [step(url, vendor) for _ in range(4)]
    assert looked_up(vendor) == ["c", "b", "a"]
    assert pauses == [36.0, 36.0, 36.0, 600.0], "100 an hour, and fewer questions if nothing is silent"


def test_what_never_came_is_brought_in_and_counted(url: str, vendor: FakeShip24) -> None:
    tracker = vendor.add("gap")
    messages = [tracker.send(message) for message in travel("gap")]
    arrive(url, messages[0], silent_hours=30)
    step(url, vendor)
    assert [row["event_id"] for row in table_rows(url, "events", "event_id", order="event_id")] == ["gap-event-1", "gap-event-2"]
    (entry,) = table_rows(url, "audit", "actor", "action")
    assert entry["actor"] == "service"
    with closing(Database(url)) as database:
        assert count_found(database, 0, 10) == 1


def test_a_tracker_that_fails_holds_up_no_other(url: str, vendor: FakeShip24) -> None:
    for name, hours in (("broken", 99), ("other", 50)):
        arrive(url, vendor.add(name).send(travel(name, 1)[0]), silent_hours=hours)
    vendor.odd.append(("broken", say(200, {"data": None})))
    step(url, vendor)
    step(url, vendor)
    assert looked_up(vendor) == ["broken", "other"]


def test_what_the_vendor_no_longer_tracks_or_knows_is_not_asked_for_again(url: str, vendor: FakeShip24) -> None:
    arrive(url, travel("gone", 1)[0], silent_hours=99)
    step(url, vendor)
    assert [row["is_tracked"] for row in table_rows(url, "lookups", "is_tracked")] == [0]
    with closing(Database(url)) as database:
        assert list_silent(database, to_micros(now()) + 99 * HOUR, 10) == []
        update_rows(url, "trackers", moved_at=to_micros(now()) + HOUR)  # it moves after all
        assert list_silent(database, to_micros(now()) + 99 * HOUR, 10) == ["gone"]


def test_an_erased_tracker_is_not_asked_for(url: str, vendor: FakeShip24, tmp_path: Path) -> None:
    tracker = vendor.add("person")
    first, _lost = (tracker.send(message) for message in travel("person"))
    arrive(url, first, silent_hours=99)
    done = run_command("forget", "--tracker", "person", "--yes", cwd=tmp_path, env=environment(url))
    assert done.returncode == 0, done.stderr
    step(url, vendor)
    assert [row["is_tracked"] for row in table_rows(url, "lookups", "is_tracked")] == [0], "it is never looked up again"
    assert (vendor.calls, [row["event_id"] for row in table_rows(url, "events", "event_id")]) == ([], ["person-event-1"])


def test_a_service_looks_up_one_after_the_other_and_its_end_ends_a_wait_for_the_vendor(url: str, vendor: FakeShip24) -> None:
    for name in ("a", "b"):
        arrive(url, vendor.add(name).send(travel(name, 1)[0]), silent_hours=99)
    arrive(url, vendor.add("slow").send(travel("slow", 1)[0]), silent_hours=30)
    vendor.odd.append(("/slow/results", say_text(429, "Too many requests", **{"Retry-After": "3600"})))

    async def work(schedule: ReconcileSchedule) -> None:
        running = asyncio.create_task(schedule.run())
        await asyncio.to_thread(wait_until, lambda: len(looked_up(vendor)) == 3, "all are looked up")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with scheduled(url, vendor, None, pause_seconds=0, first_seconds=0) as schedule:
        asyncio.run(work(schedule))  # at its end it joins its threads: a wait that goes on would take an hour
    assert sorted(looked_up(vendor)) == ["a", "b", "slow"]
