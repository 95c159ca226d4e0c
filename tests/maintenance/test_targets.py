"""Operators act on all changes of a target, in transactions of bounded size and with one entry in the audit log."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from math import inf
from typing import TypeVar

import pytest

from receiver.clock import new_id, to_micros
from receiver.domain.changes import Subscription, TargetTestResult
from receiver.domain.rows import AuditRow
from receiver.maintenance.targets import (
    drop_target,
    flush_target,
    pause_target,
    resend_change,
    resume_target,
    retry_failed,
    send_test_change,
)
from receiver.storage.dropping import Dropped
from receiver.storage.interventions import ALL_DEAD, DeadFilter
from receiver.writer.executor import Do, WriterCommand
from tests.harness import ship24
from tests.harness.rows import count_rows, table_rows
from tests.harness.storage import add_row, make_tables, update_rows
from tests.harness.store import NOW, Store
from tests.storage.test_dropping import fill

R = TypeVar("R")
_NOW = to_micros(NOW)
_MUCH_LATER = 8_000_000_000_000_000
_OF_TRACKER = {"source": "ship24", "tracker_id": "t", "change_id": "c", "attempts": 1, "status": 200}


class TargetOperator:
    """An operator with the commands of a writing process."""

    def __init__(self, store: Store, url: str) -> None:
        self._store = store
        self.url = url

    async def do(self, command: WriterCommand[R]) -> R:
        return self._store.executor.do(command)

    def make_entry(self, at: datetime, action: str, subject: str, detail: str | None) -> AuditRow:
        return AuditRow(new_id(at), to_micros(at), "anna", None, action, subject, detail)

    def act(self, use_case: Callable[..., Awaitable[R]], *arguments: object) -> R:
        """Let the operator do something about the target `shop`."""

        async def run() -> R:
            do: Do = self.do
            return await use_case(do, "shop", self.make_entry, *arguments)

        return asyncio.run(run())

    def deliver(self, body: bytes) -> None:
        self._store.keep(body)

    def audited(self) -> list[tuple[str, str, str | None]]:
        rows = table_rows(self.url, "audit", "action", "subject", "detail", order="id")
        return [(row["action"], row["subject"], row["detail"]) for row in rows]


@contextmanager
def operating(url: str, waiting: int = 0, dead: int = 0) -> Iterator[TargetOperator]:
    """Give an operator and so many changes for the target `shop`."""
    make_tables(url)
    if waiting:
        fill(url, "shop", waiting, dead)
    with closing(Store(url, [Subscription("shop")])) as store:
        yield TargetOperator(store, url)


def test_a_flush_reaches_all_that_waits(sqlite_url: str) -> None:
    with operating(sqlite_url, 2_001, 1) as operator:
        update_rows(sqlite_url, "dispatches", due_at=_MUCH_LATER)
        assert operator.act(flush_target) == 2_001
        assert count_rows(sqlite_url, "dispatches") == 2_001
        assert table_rows(sqlite_url, "dispatches", due_at=_MUCH_LATER) == []
        assert operator.audited() == [("targets flush", "shop", None)]


def test_a_flush_has_each_change_tried_once_though_all_fail_again_at_once(sqlite_url: str) -> None:
    with operating(sqlite_url, 2_001) as operator:
        update_rows(sqlite_url, "dispatches", due_at=_MUCH_LATER)
        steps: list[object] = []

        async def do_and_fail(command: WriterCommand[R]) -> R:
            assert len(steps) < 5, "it never ends"
            steps.append(command)
            result = await operator.do(command)
            update_rows(sqlite_url, "dispatches", due_at=_MUCH_LATER)
            return result

        assert asyncio.run(flush_target(do_and_fail, "shop", operator.make_entry)) == 2_001


@pytest.mark.parametrize(
    ("only", "detail", "number"),
    [
        (ALL_DEAD, None, 2_001),
        (DeadFilter(source="ship24"), "ship24", 2_001),
        (DeadFilter(since=_NOW), "since 2025-06-01T12:00:00.000Z", 0),
        (DeadFilter(1, "ship24", "d"), "since 1970-01-01T00:00:00.000Z ship24/d", 2_001),
        (DeadFilter(source="ship24", tracker_id="another"), "ship24/another", 0),
    ],
)
def test_a_retry_reaches_all_failed_changes_and_says_which_were_meant(
    sqlite_url: str, only: DeadFilter, detail: str | None, number: int
) -> None:
    with operating(sqlite_url, 1, 2_001) as operator:
        assert operator.act(retry_failed, only) == number
        left = count_rows(sqlite_url, "dispatches"), count_rows(sqlite_url, "dead_changes")
        assert left == (number + 1, 2_001 - number)
        assert operator.audited() == [("targets retry", "shop", detail)]


@pytest.mark.parametrize(("waiting", "dead"), [(2_001, 1), (1, 2_001)])
def test_a_target_is_dropped_whole_or_as_far_as_the_time_goes(sqlite_url: str, waiting: int, dead: int) -> None:
    with operating(sqlite_url, waiting, dead) as operator:
        some, is_more = operator.act(drop_target, 0.0)
        assert (sum(some), is_more) == (1_000, True)
        rest, is_more = operator.act(drop_target, inf)
        assert (some.add(rest), is_more) == (Dropped(waiting, dead), False)
        assert operator.audited() == [("targets drop", "shop", None)] * 2


def test_a_target_is_paused_once_and_resumed_once(sqlite_url: str) -> None:
    with operating(sqlite_url) as operator:
        did = [operator.act(use_case) for use_case in (pause_target, pause_target, resume_target, resume_target)]
        assert did == [True, False, True, False]
        assert operator.audited() == [("targets pause", "shop", None)] * 2 + [("targets resume", "shop", None)] * 2


def test_a_test_change_is_on_record_before_it_is_sent(sqlite_url: str) -> None:
    answer = TargetTestResult(delivered=True, status=200, answer="200 OK")
    seen = []
    with operating(sqlite_url) as operator:

        async def send(target: str) -> TargetTestResult:
            seen.append((target, operator.audited()))
            return answer

        assert asyncio.run(send_test_change(operator.do, send, "shop", operator.make_entry)) is answer
    assert seen == [("shop", [("targets test", "shop", None)])]


@pytest.mark.parametrize(
    ("target", "sequence", "detail"),
    [
        ("shop", None, "last change of events to shop"),
        ("shop", 1, "change 1 of events to shop"),
        (None, 1, "change 1 of events to all that had it"),
    ],
)
def test_a_change_that_is_sent_again_is_named_in_the_audit_log(
    sqlite_url: str, target: str | None, sequence: int | None, detail: str
) -> None:
    with operating(sqlite_url) as operator:
        operator.deliver(ship24.body(ship24.item(tracker_id="t")))
        add_row(sqlite_url, "delivered_changes", target="shop", move=1, delivered_at=1, **_OF_TRACKER)
        resending = resend_change(operator.do, "ship24", "t", target, "events", sequence, ["shop"], operator.make_entry)
        assert asyncio.run(resending).sequence == 1
        assert operator.audited() == [("targets resend", "ship24/t", detail)]
