"""The state of each change for each target: waiting, failing, dead, delivered, not wanted, or unknown."""

from collections.abc import Iterator
from typing import Any

import pytest

from receiver.domain.changes import Subscription
from receiver.storage import queries
from receiver.storage.outbox import Acknowledgement, Claimed, Outbox, Outcome
from receiver.writer.commands.changes import PauseTarget, ResumeTarget
from tests.harness import ship24
from tests.harness.storage import delete_rows, make_tables
from tests.harness.store import Store

_SHOP = Subscription("shop")
_ARRIVED = Subscription("arrived", milestones=frozenset({"delivered"}))
_VIEWS = Subscription("views", basis="shipment")
_ALL = (_SHOP, _ARRIVED, _VIEWS)
_NOW = 4_000_000_000_000_000
_THEN = "2096-10-02T07:06:40.000Z"


class RelayedTracker:
    """A tracker with changes, and a relay of the target `shop`."""

    def __init__(self, store: Store, url: str) -> None:
        self.store = store
        self.url = url
        self._outbox = Outbox(store.database)

    def keep(self, *hours: int, view: str | None = None) -> None:
        for hour in hours:
            event = ship24.event(f"e{hour}", occurrence=f"2025-03-01T{hour:02}:00:00", status=f"at {hour}")
            self.store.keep(ship24.body(ship24.item(tracker_id="t", events=[event], shipment={"statusMilestone": view})))

    def claim(self, target: str = "shop") -> Claimed:
        exchange = self._outbox.exchange
        exchanged = self.store.transactions.run(lambda c: exchange(c, target, f"r.{target}", _NOW, _NOW + 1, 9))
        (claimed,) = exchanged.claimed
        return claimed

    def settle(self, target: str = "shop", error: str | None = None, due_at: int | None = None) -> None:
        claimed = self.claim(target)
        taken = Acknowledgement(claimed.change.id, claimed.attempts, 204)
        outcome = Outcome(claimed.mark, *claimed.change.stored_key, error, due_at, None if error else taken)
        self.store.transactions.run(lambda c: self._outbox.settle(c, target, _NOW, [outcome]))

    def changes(self, *subscriptions: Subscription) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = queries.show_tracker(self.store.database, "ship24", "t", subscriptions or _ALL)["changes"]
        return found

    def states(self, target: str) -> list[tuple[str, int, str]]:
        return [
            (change["basis"], change["sequence"], one["state"])
            for change in self.changes()
            for one in change["targets"]
            if one["target"] == target
        ]


@pytest.fixture
def tracker(database_url: str) -> Iterator[RelayedTracker]:
    make_tables(database_url)
    store = Store(database_url, _ALL)
    yield RelayedTracker(store, database_url)
    store.close()


def test_a_change_is_waiting_then_failing_then_delivered_or_dead(tracker: RelayedTracker) -> None:
    tracker.keep(10, 11, 12)
    assert tracker.states("shop") == [("events", number, "waiting") for number in (3, 2, 1)]
    tracker.settle(error="shop answered 500.", due_at=_NOW)
    (state,) = (one for one in tracker.changes()[-1]["targets"] if one["target"] == "shop")
    assert (state["state"], state["attempts"], state["last_error"]) == ("failing", 1, "shop answered 500.")
    assert (state["next_attempt_at"], state["delivered_at"], state["status"]) == (_THEN, None, None)
    tracker.settle()
    tracker.settle(error="it is given up")
    assert tracker.states("shop") == [("events", 3, "waiting"), ("events", 2, "dead"), ("events", 1, "delivered")]
    states = [one for change in tracker.changes()[1:] for one in change["targets"] if one["target"] == "shop"]
    assert [(one["attempts"], one["died_at"], one["delivered_at"]) for one in states] == [(1, _THEN, None), (2, None, _THEN)]
    assert (states[0]["last_error"], states[1]["status"]) == ("it is given up", 204)


def test_while_an_attempt_is_under_way_or_an_earlier_change_waits_there_is_no_next_attempt(tracker: RelayedTracker) -> None:
    tracker.keep(10, 11)
    tracker.claim()
    states = [one for change in tracker.changes(_SHOP) for one in change["targets"]]
    assert [(one["next_attempt_at"], one["held_by"]) for one in states] == [(None, "earlier_change"), (None, None)]


def test_while_a_target_is_paused_its_changes_say_so_and_have_no_next_attempt(tracker: RelayedTracker) -> None:
    tracker.keep(10, 11)
    tracker.store.executor.do(PauseTarget("shop", _NOW))
    states = [one for change in tracker.changes(_SHOP) for one in change["targets"]]
    assert [(one["next_attempt_at"], one["held_by"]) for one in states] == [(None, "paused")] * 2
    listed = queries.list_changes(tracker.store.database, queries.ChangeFilter(target="shop")).items
    assert [(one["next_attempt_at"], one["held_by"]) for one in listed] == [(None, "paused")] * 2
    tracker.store.executor.do(ResumeTarget("shop"))
    assert [one["held_by"] for one in tracker.changes(_SHOP)[1]["targets"]] == [None]


def test_what_a_filter_leaves_out_is_not_wanted_and_what_has_no_record_is_unknown(tracker: RelayedTracker) -> None:
    tracker.keep(10)
    assert [(one["target"], one["state"]) for one in tracker.changes()[0]["targets"]] == [
        ("arrived", "not_wanted"),
        ("shop", "waiting"),
        ("views", "not_wanted"),
    ]
    later = Subscription("later")
    assert {one["target"]: one["state"] for one in tracker.changes(_SHOP, later)[0]["targets"]} == {
        "later": "unknown",
        "shop": "waiting",
    }
    tracker.settle()
    delete_rows(tracker.url, "delivered_changes")
    assert tracker.states("shop") == [("events", 1, "unknown")]


def test_what_was_delivered_counts_for_a_target_whose_filter_has_changed_or_that_is_gone(tracker: RelayedTracker) -> None:
    tracker.keep(10)
    tracker.settle()
    narrow = Subscription("shop", milestones=frozenset({"exception"}))
    assert [one["state"] for one in tracker.changes(narrow)[0]["targets"]] == ["delivered"]
    assert [one["state"] for one in tracker.changes(_VIEWS)[0]["targets"]] == ["delivered", "not_wanted"]


def test_changes_of_the_senders_own_milestone_and_changes_of_events_are_told_apart(tracker: RelayedTracker) -> None:
    tracker.keep(10, view="in_transit")
    assert tracker.states("views") == [("shipment", 1, "waiting"), ("events", 1, "not_wanted")]
    assert tracker.states("shop") == [("shipment", 1, "not_wanted"), ("events", 1, "waiting")]
    tracker.settle("views")
    assert tracker.states("views") == [("shipment", 1, "delivered"), ("events", 1, "not_wanted")]


def test_a_change_whose_event_was_revised_is_shown_with_its_own_id(tracker: RelayedTracker) -> None:
    tracker.keep(10)
    tracker.settle()
    event = ship24.event("e10", occurrence="2025-03-01T10:00:00", status="corrected")
    tracker.store.keep(
        ship24.body(ship24.item("m9", "t", [event], "2025-03-09T00:00:00.000Z", shipment={"statusMilestone": None}))
    )
    shown = [(one["sequence"], one["status"], one["targets"][1]["state"]) for one in tracker.changes()]
    assert shown == [(2, "corrected", "waiting"), (1, "at 10", "delivered")]
    assert len({one["change_id"] for one in tracker.changes()}) == 2
