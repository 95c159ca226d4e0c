"""What waits for a target: claimed once, in the order of each tracker, and never lost."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from receiver.changes import Subscription
from receiver.clock import to_micros
from receiver.storage.outbox import Claimed, Outbox, Outcome
from tests.harness import ship24
from tests.harness.inbox import NOW, Store
from tests.harness.load import together
from tests.harness.service import read_rows
from tests.harness.storage import make_tables

ALL = Subscription("all")
NOW_MICROS = to_micros(NOW)
LEASE = 60_000_000


class Relay:
    """One that claims and settles on a connection of its own."""

    def __init__(self, store: Store, mark: str = "relay-1") -> None:
        self._store = store
        self._outbox = Outbox(store.database)
        self.mark = mark

    def claim(self, target: str = "all", now: int = NOW_MICROS, limit: int = 10) -> list[Claimed]:
        return self._store.transactions.run(
            lambda connection: self._outbox.claim(connection, target, self.mark, now, now + LEASE, limit)
        )

    def settle(self, *outcomes: Outcome, target: str = "all", now: int = NOW_MICROS) -> int:
        return self._store.transactions.run(lambda connection: self._outbox.settle(connection, target, now, outcomes))

    def next_due(self) -> int | None:
        return self._store.transactions.run(lambda connection: self._outbox.next_due(connection, "all"))

    def stop(self, reason: str = "it wants no more") -> None:
        self._store.transactions.run(lambda connection: self._outbox.stop(connection, "all", NOW_MICROS, reason))

    def resume(self) -> bool:
        return self._store.transactions.run(lambda connection: self._outbox.resume(connection, "all"))

    def take(self, **given: int) -> list[tuple[str, int]]:
        """Claim and deliver all that can be had now; return tracker and move."""
        taken = []
        while claimed := self.claim(**given):  # type: ignore[arg-type]
            taken += [(c.change.tracker_id, c.change.move) for c in claimed]
            assert self.settle(*(done(c) for c in claimed)) == len(claimed)
        return taken


def done(claimed: Claimed) -> Outcome:
    return Outcome(claimed.mark, claimed.change.source, claimed.change.tracker_id, claimed.change.move)


def again(claimed: Claimed, due_at: int) -> Outcome:
    return done(claimed)._replace(error="it was not there", due_at=due_at)


@pytest.fixture
def tables(database_url: str) -> str:
    """A database of each kind, with tables."""
    make_tables(database_url)
    return database_url


@contextmanager
def opened(url: str, *subscriptions: Subscription) -> Iterator[Store]:
    store = Store(url, subscriptions or (ALL,))
    try:
        yield store
    finally:
        store.close()


def moved(tracker_id: str, *hours: int, milestone: str = "in_transit") -> bytes:
    """Return a call that tells of a tracker's events at these hours."""
    events = [ship24.event(occurrence=f"2025-03-01T{hour:02}:00:00", statusMilestone=milestone) for hour in hours]
    return ship24.body(ship24.item(tracker_id=tracker_id, events=events))


def test_each_applied_event_makes_one_change_and_nothing_else_does(tables: str) -> None:
    with opened(tables) as store:
        body = moved("t", 10, 11)
        store.keep(body, moved("t", 9))
        store.keep(body)
        claimed = Relay(store).claim()
        assert [(c.change.move, c.change.occurrence, c.attempts) for c in claimed] == [(1, "2025-03-01T10:00:00", 1)]
        change = claimed[0].change
        assert (change.old_status, change.status, change.status_milestone) == (
            None,
            "Arrived at the sorting centre",
            "in_transit",
        )
        assert (change.source, change.tracker_id, change.tracking_number, change.position) == ("ship24", "t", "TN-t", 0)


def test_a_change_goes_to_each_target_that_wants_it(tables: str) -> None:
    turns = Subscription("turns", milestone_changed=True)
    delivered = Subscription("delivered", frozenset({"ship24"}), frozenset({"delivered"}))
    other = Subscription("other", frozenset({"shiipp"}))
    with opened(tables, ALL, turns, delivered, other) as store:
        store.keep(moved("t", 10), moved("t", 11), moved("t", 12, milestone="delivered"))
        relay = Relay(store)
        found = {name: len(relay.claim(name)) for name in ("all", "turns", "delivered", "other")}
        assert found == {"all": 1, "turns": 1, "delivered": 1, "other": 0}
        waiting = read_rows(tables, "SELECT target, count(*) AS n FROM dispatches GROUP BY target")
        assert {row["target"]: row["n"] for row in waiting} == {"all": 3, "turns": 2, "delivered": 1}


def test_a_trackers_changes_come_one_after_the_other_and_trackers_side_by_side(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("a", 10), moved("b", 10), moved("a", 11), moved("b", 11), moved("a", 12))
        relay = Relay(store)
        first = relay.claim()
        assert sorted((c.change.tracker_id, c.change.move) for c in first) == [("a", 1), ("b", 1)]
        assert relay.claim() == []
        assert relay.settle(done(first[0])) == 1
        (second,) = relay.claim()
        assert (second.change.tracker_id, second.change.move) == (first[0].change.tracker_id, 2)


def test_what_was_dated_by_a_clock_that_was_far_ahead_goes_out_when_the_clock_is_right_again(tables: str) -> None:
    day = 86_400_000_000
    with opened(tables) as store:
        store.keep(moved("a", 10), moved("a", 11))
        relay = Relay(store)
        assert relay.take(now=NOW_MICROS - day) == []
        assert relay.take(now=NOW_MICROS - 365 * day) == [("a", 1), ("a", 2)]


def test_a_failure_holds_up_its_own_tracker_only_and_until_it_is_due(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("bad", 10), moved("bad", 11), moved("good", 10), moved("good", 11))
        relay = Relay(store)
        bad, good = sorted(relay.claim(), key=lambda c: c.change.tracker_id)
        later = NOW_MICROS + 5_000_000
        assert relay.settle(again(bad, later), done(good)) == 2
        assert [(c.change.tracker_id, c.change.move) for c in relay.claim()] == [("good", 2)]
        (repeated,) = [c for c in relay.claim(now=later) if c.change.tracker_id == "bad"]
        assert (repeated.change, repeated.attempts) == (bad.change, 2)


def test_what_a_dead_relay_had_claimed_comes_due_again_and_its_late_word_counts_for_nothing(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("t", 10))
        dead, alive = Relay(store, "dead"), Relay(store, "alive")
        (claimed,) = dead.claim()
        assert alive.claim(now=NOW_MICROS + LEASE - 1) == []
        (repeated,) = alive.claim(now=NOW_MICROS + LEASE)
        assert (repeated.change, repeated.attempts) == (claimed.change, 2)
        assert dead.settle(done(claimed)) == 0
        assert alive.settle(done(repeated)) == 1


def test_a_change_that_is_given_up_is_set_aside_with_its_error_and_the_next_one_goes_on(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("t", 10), moved("t", 11))
        relay = Relay(store)
        (claimed,) = relay.claim()
        assert relay.settle(done(claimed)._replace(error="ValueError: no such order")) == 1
        (row,) = read_rows(tables, "SELECT * FROM dead_changes")
        assert (row["move"], row["attempts"], row["error"]) == (1, 1, "ValueError: no such order")
        assert [c.change.move for c in relay.claim()] == [2]


def test_what_comes_next_is_what_could_be_claimed_then(tables: str) -> None:
    with opened(tables) as store:
        relay = Relay(store)
        assert relay.next_due() is None
        store.keep(moved("bad", 10), moved("bad", 11))
        assert relay.next_due() == NOW_MICROS
        (claimed,) = relay.claim()
        relay.settle(again(claimed, NOW_MICROS + 5_000_000))
        assert relay.next_due() == NOW_MICROS + 5_000_000, "the one behind it is due, but waits for it"
        relay.stop()
        assert (relay.next_due(), relay.claim(now=NOW_MICROS + 5_000_000)) == (None, [])
        assert (relay.resume(), relay.resume()) == (True, False)
        assert len(relay.claim(now=NOW_MICROS + 5_000_000)) == 1


def test_a_target_that_is_stopped_twice_keeps_the_first_reason(tables: str) -> None:
    with opened(tables) as store:
        Relay(store).stop("first")
        Relay(store).stop("second")
    assert [row["reason"] for row in read_rows(tables, "SELECT reason FROM stopped_targets")] == ["first"]


def test_two_relays_share_the_work_and_take_each_change_once(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    with opened(postgresql_url) as one, opened(postgresql_url) as other:
        one.keep(*(moved(f"t{number % 20}", number // 20) for number in range(100)))

        def run(store: Store, mark: str) -> list[tuple[str, int]]:
            return Relay(store, mark).take(limit=3)

        first, second = together([lambda: run(one, "one"), lambda: run(other, "two")])
        assert sorted(first + second) == sorted((f"t{tracker}", move) for tracker in range(20) for move in range(1, 6))
        for part in (first, second):
            moves = {tracker: [move for of, move in part if of == tracker] for tracker, _ in part}
            assert all(found == sorted(found) for found in moves.values())


def test_a_target_that_is_stopped_gets_nothing_until_it_is_resumed_and_then_everything(tables: str) -> None:
    with opened(tables, ALL, Subscription("other")) as store:
        store.keep(moved("t", 10))
        relay, outbox = Relay(store), Outbox(store.database)
        store.transactions.run(lambda connection: outbox.stop(connection, "all", NOW_MICROS, "gone"))
        assert (relay.claim(), len(relay.claim("other"))) == ([], 1)
        assert store.transactions.run(lambda connection: outbox.resume(connection, "all")) is True
        assert [c.change.move for c in relay.claim()] == [1]
        assert store.transactions.run(lambda connection: outbox.resume(connection, "all")) is False
