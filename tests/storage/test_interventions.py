"""Operators pause targets, and have waiting changes tried at once."""

from collections.abc import Iterator, Sequence

import pytest

from receiver.domain.changes import Subscription
from receiver.domain.retention import PruneRun
from receiver.storage import queries
from receiver.storage.interventions import DeadFilter
from receiver.storage.outbox import Claimed, Outcome
from receiver.writer.commands.changes import (
    ExchangeChanges,
    FlushTarget,
    PauseTarget,
    ReadFlush,
    ResumeTarget,
    RetryDead,
    StopTarget,
)
from receiver.writer.commands.removal import ClaimPruning, Prune
from tests.harness import ship24
from tests.harness.rows import table_rows
from tests.harness.storage import make_tables
from tests.harness.store import NOW, Store

_NOW = int(NOW.timestamp() * 1_000_000)
_LATER = _NOW + 3_600_000_000


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    opened = Store(database_url, [Subscription("shop"), Subscription("other")])
    yield opened
    opened.close()


def tell(store: Store, *trackers: str) -> None:
    for hour, tracker in enumerate(trackers):
        event = ship24.event(occurrence=f"2025-03-01T{hour:02}:00:00")
        store.keep(ship24.body(ship24.item(tracker_id=tracker, events=[event])))


def claim(store: Store, target: str = "shop", now: int = _NOW, limit: int = 10) -> Sequence[Claimed]:
    return store.executor.do(ExchangeChanges(target, f"relay.{target}{now}", now, now + 60_000_000, limit)).claimed


def due_at(url: str) -> dict[tuple[str, str, int], int]:
    return {(row["target"], row["tracker_id"], row["move"]): row["due_at"] for row in table_rows(url, "dispatches")}


def fail(store: Store, claimed: Claimed) -> None:
    outcome = Outcome(claimed.mark, *claimed.change.stored_key, "shop answered 500.", _LATER)
    store.executor.do(ExchangeChanges("shop", "none", _NOW, _NOW, 0, [outcome]))


def test_a_paused_target_gets_nothing_until_it_is_resumed(store: Store) -> None:
    tell(store, "t")
    assert [store.executor.do(PauseTarget("shop", _NOW)) for _ in range(2)] == [True, False]
    assert (claim(store), len(claim(store, "other"))) == ([], 1)
    state = queries.show_targets(store.database, ["shop"])["shop"]
    assert (state["paused_at"] is not None, state["stopped_at"], state["stop_reason"]) == (True, None, None)
    assert [store.executor.do(ResumeTarget("shop")) for _ in range(2)] == [True, False]
    assert len(claim(store)) == 1


def test_a_target_that_answers_410_is_stopped_and_one_that_was_paused_before_stays_paused(store: Store) -> None:
    store.executor.do(StopTarget("shop", _NOW, "gone"))
    assert store.executor.do(PauseTarget("shop", _NOW)) is False
    store.executor.do(PauseTarget("other", _NOW))
    store.executor.do(StopTarget("other", _NOW, "gone"))
    shown = queries.show_targets(store.database)
    assert [(shown[name]["paused_at"] is None, shown[name]["stop_reason"]) for name in ("shop", "other")] == [
        (True, "gone"),
        (False, None),
    ]


def test_what_waits_for_a_paused_target_is_no_alarm_and_is_never_pruned(store: Store, database_url: str) -> None:
    tell(store, "t")
    assert set(queries.find_oldest_due(store.database)) == {"shop", "other"}
    store.executor.do(PauseTarget("shop", _NOW))
    assert set(queries.find_oldest_due(store.database)) == {"other"}
    store.executor.do(ClaimPruning("mark", _NOW))
    step = PruneRun({"dead_changes": _LATER}, ["shop", "other"]).next_step()
    assert step is not None
    assert store.executor.do(Prune("mark", _NOW, step)).rows == 0
    assert len(table_rows(database_url, "dispatches")) == 2


def test_a_flush_makes_due_what_waits_for_its_next_attempt_and_nothing_else(store: Store, database_url: str) -> None:
    tell(store, "failed", "under way", "failed")
    for claimed in claim(store):
        if claimed.change.tracker_id == "failed":
            fail(store, claimed)
    claim(store, "other")
    before = due_at(database_url)
    assert before["shop", "failed", 1] == _LATER
    assert [store.executor.do(FlushTarget("shop", _NOW + 5)) for _ in range(2)] == [(1, None), (0, None)]
    after = due_at(database_url)
    assert after == {**before, ("shop", "failed", 1): _NOW + 5}
    assert [store.executor.do(ReadFlush(name)) for name in ("shop", "other")] == [_NOW + 5, None]
    assert [one.change.tracker_id for one in claim(store, now=_NOW + 5)] == ["failed"]


def die(store: Store, tracker: str, now: int) -> None:
    tell(store, tracker)
    (claimed,) = claim(store, now=now)
    outcome = Outcome(claimed.mark, *claimed.change.stored_key, "shop answered 500.")
    store.executor.do(ExchangeChanges("shop", "none", now, now, 0, [outcome]))


def test_dead_changes_are_queued_again_by_time_source_and_tracker(store: Store, database_url: str) -> None:
    for tracker, now in (("a", _NOW), ("b", _NOW + 1), ("c", _NOW + 2)):
        die(store, tracker, now)
    queued = []
    for only in (
        DeadFilter(source="shiipp"),
        DeadFilter(since=_NOW + 2),
        DeadFilter(_NOW + 1, "ship24", "a"),
        DeadFilter(None, "ship24", "a"),
        DeadFilter(source="ship24"),
    ):
        store.executor.do(RetryDead("shop", _LATER, only))
        queued.append("".join(sorted(tracker for target, tracker, _ in due_at(database_url) if target == "shop")))
    assert queued == ["", "c", "c", "ac", "abc"]


def test_a_change_that_died_while_the_clock_was_ahead_is_queued_again(store: Store, database_url: str) -> None:
    die(store, "a", _LATER)
    store.executor.do(RetryDead("shop", _NOW))
    assert due_at(database_url)["shop", "a", 1] == _NOW
