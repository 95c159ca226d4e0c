"""One reconciliation runs in a service at a time. It is stopped, shown, and continued where it stopped."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Event
from typing import Any, TypeVar

import pytest
from structlog.testing import capture_logs

from receiver.access.bearer import Secret
from receiver.clock import new_id, now, to_micros
from receiver.domain.reconciliation import ReconcileRequest
from receiver.domain.rows import AuditRow, ReconciliationRow
from receiver.errors import AlreadyRunning, NotFound, StorageUnavailable, UnexpectedShape
from receiver.maintenance.bring_in import DeliveryImport
from receiver.maintenance.reconcile.jobs import ReconcileJobs
from receiver.maintenance.reconcile.runs import ReconcileRuns
from receiver.maintenance.reconcile.ship24_api import Ship24Api, Wait
from receiver.writer.executor import WriterCommand
from tests.harness.rows import table_rows
from tests.harness.service import DEADLINE_SECONDS, wait_until
from tests.harness.ship24 import body, event, item
from tests.harness.ship24_api import KEY, FakeShip24, fake_ship24, say_error, say_text
from tests.harness.storage import make_tables, update_rows
from tests.harness.store import MAX_BYTES, SOURCES, importing, opened

R = TypeVar("R")
ALL = ReconcileRequest(all_trackers=True)
_HOUR = 3_600_000_000


@pytest.fixture
def vendor() -> Iterator[FakeShip24]:
    with fake_ship24() as running:
        yield running


@pytest.fixture
def url(sqlite_url: str, vendor: FakeShip24) -> str:
    """A database that has all that the vendor knows of three trackers."""
    make_tables(sqlite_url)
    with opened(sqlite_url) as store:
        for name in ("t0", "t1", "t2"):
            store.keep(body(vendor.add(name).send(item(f"m-{name}", name, [event(f"e-{name}")]), "success")))
    return sqlite_url


class Faults:
    """Errors to raise instead of the next queries, and the next commands."""

    def __init__(self) -> None:
        self.queries: list[Exception] = []
        self.commands: list[Exception] = []


@contextmanager
def jobs_of(url: str, vendor: FakeShip24, faults: Faults | None = None, *, has_key: bool = True) -> Iterator[ReconcileJobs]:
    """Give the jobs of a service."""
    faults = faults or Faults()
    with importing(url) as (database, executor):

        async def do(command: WriterCommand[R]) -> R:
            await asyncio.sleep(0)  # another request may come meanwhile
            if faults.commands:
                raise faults.commands.pop()
            return executor.do(command)

        async def read(query: Any, *arguments: Any) -> Any:
            if faults.queries:
                raise faults.queries.pop()
            return query(*arguments)

        def make_api(wait: Wait) -> Ship24Api:
            return Ship24Api(vendor.url, Secret("api key", KEY), wait)

        runs = ReconcileRuns(do, read, database, DeliveryImport(do, SOURCES, MAX_BYTES), {})
        yield ReconcileJobs(runs, make_api if has_key else None)


def make_entry(at: datetime, action: str, subject: str, detail: str | None) -> AuditRow:
    return AuditRow(new_id(at), to_micros(at), "anna", None, action, subject, detail)


async def end() -> None:
    """Wait until the run has ended."""
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


async def run_all(jobs: ReconcileJobs) -> ReconciliationRow:
    """Begin a run of all trackers, or continue it; return it when it has ended."""
    begun = await jobs.begin(ALL, make_entry)
    await end()
    row, goes_on = jobs.read(begun.id)
    assert (goes_on, jobs.running_id()) == (False, None)
    return row


def examined(row: ReconciliationRow) -> int:
    return int(json.loads(row.report)["examined"])


def stored(url: str) -> list[ReconciliationRow]:
    return [ReconciliationRow(**row) for row in table_rows(url, "reconciliations", order="id")]


def test_a_run_is_on_record_and_shown_to_its_end(url: str, vendor: FakeShip24) -> None:
    with jobs_of(url, vendor) as jobs:
        row = asyncio.run(run_all(jobs))
        assert (examined(row), row.problem, row.actor, row.source) == (3, None, "anna", "ship24")
        assert row.ended_at is not None
        assert stored(url) == [row]
        (entry,) = table_rows(url, "audit", "action", "subject", "detail")
        assert entry == {"action": "reconcile", "subject": "ship24", "detail": row.request}
        assert ReconcileRequest.from_json(json.loads(row.request)) == ALL
        assert asyncio.run(run_all(jobs)).id != row.id, "a complete one begins anew"
        with pytest.raises(NotFound):
            jobs.read(row.id)


def test_a_run_that_is_stopped_is_continued_and_no_other_begins_meanwhile(url: str, vendor: FakeShip24) -> None:
    reached, go = Event(), Event()

    def hold(call: str) -> None:
        if "/t1/results" in call:
            reached.set()
            assert go.wait(DEADLINE_SECONDS)

    vendor.before_reply = hold

    async def stop_at_the_second(jobs: ReconcileJobs) -> ReconciliationRow:
        begun = await jobs.begin(ALL, make_entry)
        assert stored(url) == [begun]
        assert await asyncio.to_thread(reached.wait, DEADLINE_SECONDS)
        assert jobs.running_id() == begun.id
        shown, goes_on = jobs.read(begun.id)
        assert (examined(shown), goes_on, stored(url)) == (1, True, [shown])
        with pytest.raises(AlreadyRunning):
            await jobs.begin(ALL, make_entry)
        with pytest.raises(NotFound):
            jobs.stop("another")
        jobs.stop(begun.id)
        go.set()
        await end()
        return jobs.read(begun.id)[0]

    with jobs_of(url, vendor) as jobs:
        stopped = asyncio.run(stop_at_the_second(jobs))
        assert (examined(stopped), stopped.ended_at, stored(url)) == (1, None, [stopped])
        done = asyncio.run(run_all(jobs))
    assert (done.id, examined(done), stored(url)) == (stopped.id, 3, [done])
    assert sorted(vendor.asked("results")) == [f"GET /trackers/t{number}/results" for number in (0, 1, 1, 2)]


@pytest.mark.parametrize("by", ["request", "service"])
def test_a_wait_for_the_vendor_ends_with_the_run_and_with_the_service(url: str, vendor: FakeShip24, by: str) -> None:
    vendor.odd.append(("/t0/results", say_text(429, "Too many requests", **{"Retry-After": "3600"})))

    async def stop(jobs: ReconcileJobs) -> None:
        service = asyncio.create_task(jobs.run())
        begun = await jobs.begin(ALL, make_entry)
        await asyncio.to_thread(wait_until, lambda: vendor.asked("results"), "the vendor is asked")
        if by == "request":
            jobs.stop(begun.id)
            await asyncio.wait(asyncio.all_tasks() - {service, asyncio.current_task()})
            assert jobs.read(begun.id)[0].problem == "Stopped. The same request continues."
        service.cancel()
        await end()
        assert jobs.running_id() is None

    with jobs_of(url, vendor) as jobs:
        asyncio.run(stop(jobs))  # at its end it joins its threads: a wait that goes on would take an hour
        done = asyncio.run(run_all(jobs))
    assert (examined(done), done.problem, stored(url)) == (3, None, [done])


def test_an_error_is_shown_with_the_run_and_the_next_one_continues_it(url: str, vendor: FakeShip24) -> None:
    faults = Faults()
    with jobs_of(url, vendor, faults) as jobs:
        vendor.odd.append(("/t1/results", say_error(401, "auth_invalid_api_key")))
        refused = asyncio.run(run_all(jobs))
        assert refused.problem is not None
        assert "RECEIVER_SHIP24_API_KEY" in refused.problem
        assert (examined(refused), refused.ended_at, stored(url)) == (1, None, [refused])

        async def fail() -> ReconciliationRow:
            begun = await jobs.begin(ALL, make_entry)
            assert begun.problem is None
            faults.queries.append(RuntimeError("personal data"))
            await end()
            return jobs.read(begun.id)[0]

        with capture_logs() as logs:
            failed = asyncio.run(fail())
        assert failed.problem is not None
        assert failed.problem.startswith("This service failed to do it (RuntimeError")
        assert "personal" not in failed.problem
        assert [line["event"] for line in logs] == ["reconcile_failed"]
        done = asyncio.run(run_all(jobs))
        assert (done.id, examined(done), done.problem) == (refused.id, 3, None)


def test_a_stopped_run_is_continued_for_a_week(url: str, vendor: FakeShip24) -> None:
    with jobs_of(url, vendor) as jobs:
        vendor.odd.append(("/t0/results", say_error(401, "auth_invalid_api_key")))
        first = asyncio.run(run_all(jobs))
        week_ago = to_micros(now()) - 7 * 24 * _HOUR
        for began_at, is_continued in ((week_ago - _HOUR, False), (week_ago + _HOUR, True)):
            update_rows(url, "reconciliations", began_at=began_at)
            vendor.odd.append(("/t0/results", say_error(401, "auth_invalid_api_key")))
            last = asyncio.run(run_all(jobs))
            assert (last.id == first.id) == is_continued
            first = last


def test_of_two_requests_at_once_one_begins_and_one_that_fails_holds_up_no_other(url: str, vendor: FakeShip24) -> None:
    faults = Faults()
    faults.commands.append(StorageUnavailable("The disk is full."))

    async def begin_two(jobs: ReconcileJobs) -> list[type]:
        with pytest.raises(StorageUnavailable):
            await jobs.begin(ALL, make_entry)
        begun = await asyncio.gather(*(jobs.begin(ALL, make_entry) for _ in range(2)), return_exceptions=True)
        await end()
        return [type(one) for one in begun]

    with jobs_of(url, vendor, faults) as jobs:
        assert asyncio.run(begin_two(jobs)) == [ReconciliationRow, AlreadyRunning]


def test_without_a_key_none_begins(url: str, vendor: FakeShip24) -> None:
    with jobs_of(url, vendor, has_key=False) as jobs:
        assert jobs.has_key is False
        with pytest.raises(UnexpectedShape, match="RECEIVER_SHIP24_API_KEY"):
            asyncio.run(jobs.begin(ALL, make_entry))
        with pytest.raises(NotFound):
            jobs.stop("any")
