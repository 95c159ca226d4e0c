"""The outbox: a change is claimed once, in the order of its tracker, and never lost."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import pytest
from sqlalchemy import Connection

from receiver.clock import to_micros
from receiver.domain.changes import Subscription
from receiver.storage.interventions import ALL_DEAD, ChangeKey, DeadFilter, InterventionStep, retry_dead
from receiver.storage.outbox import Acknowledgement, Claimed, Exchanged, Outbox, Outcome
from receiver.storage.suspects import has_suspects, release
from receiver.storage.tables.outbox import BLOCKED, SUSPECT
from tests.harness import ship24
from tests.harness.load import together
from tests.harness.rows import table_rows
from tests.harness.storage import change as change_database
from tests.harness.storage import make_tables
from tests.harness.store import NOW, Store

ALL = Subscription("all")
NOW_MICROS = to_micros(NOW)
LEASE = 60_000_000


class ClaimingRelay:
    """One that claims and settles on a connection of its own."""

    def __init__(self, store: Store, owner: str = "relay") -> None:
        self._store = store
        self._outbox = Outbox(store.database)
        self._marks = (f"{owner}.{number}" for number in count())

    def exchange(self, *outcomes: Outcome, target: str = "all", now: int = NOW_MICROS, limit: int = 10) -> Exchanged:
        mark = next(self._marks)
        return self._store.transactions.run(
            lambda connection: self._outbox.exchange(connection, target, mark, now, now + LEASE, limit, outcomes)
        )

    def claim(self, target: str = "all", now: int = NOW_MICROS, limit: int = 10) -> Sequence[Claimed]:
        return self.exchange(target=target, now=now, limit=limit).claimed

    def release(self, owner: str | None, now: int = NOW_MICROS, *handlers: str, crashed: bool = True) -> int:
        return self._store.transactions.run(lambda connection: release(connection, owner, now, handlers, crashed=crashed))

    def settle(self, *outcomes: Outcome, target: str = "all", now: int = NOW_MICROS) -> int:
        return self._store.transactions.run(lambda connection: self._outbox.settle(connection, target, now, outcomes))

    def next_due(self) -> int | None:
        return self.exchange(limit=0).next_due

    def stop(self, reason: str = "it wants no more") -> None:
        self._store.transactions.run(lambda connection: self._outbox.stop(connection, "all", NOW_MICROS, reason))

    def resume(self) -> bool:
        return self._store.transactions.run(lambda connection: self._outbox.resume(connection, "all"))

    def take(self, **given: int) -> list[tuple[str, int]]:
        """Claim and deliver all that can be had now; return tracker and move."""
        taken = []
        while claimed := self.claim(**given):  # type: ignore[arg-type]
            taken += [(c.change.tracker_id, c.change.sequence) for c in claimed]
            assert self.settle(*(done(c) for c in claimed)) == len(claimed)
        return taken


def done(claimed: Claimed) -> Outcome:
    taken = Acknowledgement(claimed.change.id, claimed.attempts, 200)
    return Outcome(claimed.mark, *claimed.change.stored_key, acknowledgement=taken)


def again(claimed: Claimed, due_at: int) -> Outcome:
    return done(claimed)._replace(error="it was not there", due_at=due_at, acknowledgement=None)


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
    """Return a delivery with events of a tracker at these hours."""
    events = [ship24.event(occurrence=f"2025-03-01T{hour:02}:00:00", statusMilestone=milestone) for hour in hours]
    return ship24.body(ship24.item(tracker_id=tracker_id, events=events))


def test_each_applied_event_makes_one_change_and_nothing_else_does(tables: str) -> None:
    with opened(tables) as store:
        body = moved("t", 10, 11)
        store.keep(body, moved("t", 9))
        store.keep(body)
        claimed = ClaimingRelay(store).claim()
        assert [(c.change.sequence, c.change.occurrence, c.attempts) for c in claimed] == [(1, "2025-03-01T10:00:00", 1)]
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
        relay = ClaimingRelay(store)
        found = {name: len(relay.claim(name)) for name in ("all", "turns", "delivered", "other")}
        assert found == {"all": 1, "turns": 1, "delivered": 1, "other": 0}
        waiting = Counter(row["target"] for row in table_rows(tables, "dispatches", "target"))
        assert waiting == {"all": 3, "turns": 2, "delivered": 1}


def test_a_trackers_changes_come_one_after_the_other_and_trackers_side_by_side(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("a", 10), moved("b", 10), moved("a", 11), moved("b", 11), moved("a", 12))
        relay = ClaimingRelay(store)
        first = relay.claim()
        assert sorted((c.change.tracker_id, c.change.sequence) for c in first) == [("a", 1), ("b", 1)]
        assert relay.exchange() == Exchanged([], NOW_MICROS + LEASE), "blocked ones wait"
        assert relay.settle(done(first[0])) == 1
        (second,) = relay.claim()
        assert (second.change.tracker_id, second.change.sequence) == (first[0].change.tracker_id, 2)


def test_what_was_dated_by_a_clock_that_was_far_ahead_goes_out_when_the_clock_is_right_again(tables: str) -> None:
    day = 86_400_000_000
    with opened(tables) as store:
        store.keep(moved("a", 10), moved("a", 11))
        relay = ClaimingRelay(store)
        assert relay.take(now=NOW_MICROS - day) == []
        assert relay.take(now=NOW_MICROS - 365 * day) == [("a", 1), ("a", 2)]


def test_a_failure_holds_up_its_own_tracker_only_and_until_it_is_due(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("bad", 10), moved("bad", 11), moved("good", 10), moved("good", 11))
        relay = ClaimingRelay(store)
        bad, good = sorted(relay.claim(), key=lambda c: c.change.tracker_id)
        later = NOW_MICROS + 5_000_000
        assert relay.settle(again(bad, later), done(good)) == 2
        assert [(c.change.tracker_id, c.change.sequence) for c in relay.claim()] == [("good", 2)]
        (repeated,) = [c for c in relay.claim(now=later) if c.change.tracker_id == "bad"]
        assert (repeated.change, repeated.attempts) == (bad.change, 2)


def test_the_claims_of_a_dead_relay_come_due_again_and_its_late_outcome_is_ignored(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("t", 10))
        dead, alive = ClaimingRelay(store, "dead"), ClaimingRelay(store, "alive")
        (claimed,) = dead.claim()
        assert alive.claim(now=NOW_MICROS + LEASE - 1) == []
        (repeated,) = alive.claim(now=NOW_MICROS + LEASE)
        assert (repeated.change, repeated.attempts, repeated.unsettled) == (claimed.change, 1, 1)
        assert dead.settle(done(claimed)) == 0
        assert alive.settle(done(repeated)) == 1


def test_a_change_that_is_given_up_is_set_aside_with_its_error_and_the_next_one_goes_on(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("t", 10), moved("t", 11))
        relay = ClaimingRelay(store)
        (claimed,) = relay.claim()
        assert relay.settle(done(claimed)._replace(error="ValueError: no such order")) == 1
        (row,) = table_rows(tables, "dead_changes")
        assert (row["move"], row["attempts"], row["error"]) == (1, 1, "ValueError: no such order")
        assert [c.change.sequence for c in relay.claim()] == [2]


def test_what_is_delivered_stays_on_record_and_what_is_delivered_again_replaces_it(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("t", 10), moved("u", 10))
        relay = ClaimingRelay(store)
        first, other = sorted(relay.claim(), key=lambda c: c.change.tracker_id)
        relay.settle(done(first), again(other, NOW_MICROS + 5))
        (record,) = table_rows(tables, "delivered_changes")
        assert (record["target"], record["tracker_id"], record["move"], record["change_id"]) == ("all", "t", 1, first.change.id)
        assert (record["attempts"], record["status"], record["delivered_at"]) == (1, 200, NOW_MICROS)
        relay.settle(done(first)._replace(acknowledgement=Acknowledgement(first.change.id, 3, 204)), now=NOW_MICROS + 9)
        (record,) = table_rows(tables, "delivered_changes")
        assert (record["attempts"], record["status"], record["delivered_at"]) == (3, 204, NOW_MICROS + 9)


def test_senders_that_name_their_trackers_alike_have_records_of_their_own(tables: str) -> None:
    delivered = [Outcome("m", source, "t", 1, acknowledgement=Acknowledgement(source, 1)) for source in ("ship24", "shiipp")]
    with opened(tables) as store:
        assert ClaimingRelay(store).settle(*delivered, delivered[0]) == 0, "their claims are not ours"
    records = table_rows(tables, "delivered_changes", order="source")
    assert [(record["source"], record["change_id"]) for record in records] == [("shiipp", "shiipp"), ("ship24", "ship24")]


def test_what_comes_next_is_what_could_be_claimed_then(tables: str) -> None:
    with opened(tables) as store:
        relay = ClaimingRelay(store)
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
        ClaimingRelay(store).stop("first")
        ClaimingRelay(store).stop("second")
    assert [row["reason"] for row in table_rows(tables, "stopped_targets", "reason")] == ["first"]


def test_two_relays_share_the_work_and_take_each_change_once(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    with opened(postgresql_url) as one, opened(postgresql_url) as other:
        one.keep(*(moved(f"t{number % 20}", number // 20) for number in range(100)))

        def run(store: Store, mark: str) -> list[tuple[str, int]]:
            return ClaimingRelay(store, mark).take(limit=3)

        first, second = together([lambda: run(one, "one"), lambda: run(other, "two")])
        assert sorted(first + second) == sorted((f"t{tracker}", move) for tracker in range(20) for move in range(1, 6))
        for part in (first, second):
            moves = {tracker: [move for of, move in part if of == tracker] for tracker, _ in part}
            assert all(found == sorted(found) for found in moves.values())


def test_a_target_that_is_stopped_gets_nothing_until_it_is_resumed_and_then_everything(tables: str) -> None:
    with opened(tables, ALL, Subscription("other")) as store:
        store.keep(moved("t", 10))
        relay, outbox = ClaimingRelay(store), Outbox(store.database)
        store.transactions.run(lambda connection: outbox.stop(connection, "all", NOW_MICROS, "gone"))
        assert (relay.claim(), len(relay.claim("other"))) == ([], 1)
        assert store.transactions.run(lambda connection: outbox.resume(connection, "all")) is True
        assert [c.change.sequence for c in relay.claim()] == [1]
        assert store.transactions.run(lambda connection: outbox.resume(connection, "all")) is False


def due_at(url: str) -> dict[tuple[str, int], int]:
    rows = table_rows(url, "dispatches", "tracker_id", "move", "due_at")
    return {(row["tracker_id"], row["move"]): row["due_at"] for row in rows}


def test_only_the_first_change_of_a_tracker_comes_due_the_others_as_they_become_the_first(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("t", 10), moved("t", 11))
        store.keep(moved("t", 12))
        assert due_at(tables) == {("t", 1): NOW_MICROS, ("t", 2): BLOCKED, ("t", 3): NOW_MICROS}
        relay = ClaimingRelay(store)
        exchanged = relay.exchange()
        assert ([c.change.sequence for c in exchanged.claimed], exchanged.blocked) == ([1], 1)
        assert due_at(tables) == {("t", 1): NOW_MICROS + LEASE, ("t", 2): BLOCKED, ("t", 3): BLOCKED}
        relay.settle(again(exchanged.claimed[0], NOW_MICROS + 7), now=NOW_MICROS)
        assert due_at(tables) == {("t", 1): NOW_MICROS + 7, ("t", 2): BLOCKED, ("t", 3): BLOCKED}
        (first,) = relay.claim(now=NOW_MICROS + 7)
        relay.settle(done(first)._replace(error="given up"), now=NOW_MICROS + 9)
        assert due_at(tables) == {("t", 2): NOW_MICROS + 9, ("t", 3): BLOCKED}
        assert relay.take(now=NOW_MICROS + 9) == [("t", 2), ("t", 3)]


def test_one_exchange_settles_claims_and_returns_when_to_ask_again(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("a", 10), moved("b", 10), moved("b", 11), moved("c", 10))
        relay = ClaimingRelay(store)
        first = {c.change.tracker_id: c for c in relay.exchange(limit=2).claimed}
        (one, other) = sorted(first.values(), key=lambda c: c.change.tracker_id)
        later = NOW_MICROS + 5_000_000
        exchanged = relay.exchange(again(one, later), done(other))
        assert sorted((c.change.tracker_id, c.change.sequence) for c in exchanged.claimed) == [("b", 2), ("c", 1)]
        assert exchanged.next_due == later
        assert relay.exchange(*(done(c) for c in exchanged.claimed)) == Exchanged([], later)
        assert relay.exchange(now=later, limit=0) == Exchanged([], later)


def test_tries_count_when_they_have_an_outcome_and_claims_without_one_apart(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("t", 10))
        relay, now = ClaimingRelay(store), NOW_MICROS
        for lost in range(3):
            (claimed,) = relay.claim(now=now)
            assert (claimed.attempts, claimed.unsettled) == (1, lost)
            now += LEASE
        relay.claim(now=now)
        assert relay.release("relay", now, "all") == 1
        (claimed,) = relay.claim(now=now)
        assert (claimed.attempts, claimed.unsettled) == (1, 4)
        relay.settle(again(claimed, now))
        (claimed,) = relay.claim(now=now)
        assert (claimed.attempts, claimed.unsettled) == (2, 0)
        assert relay.release("relay", now) == 0
        (claimed,) = relay.claim(now=now)
        assert (claimed.attempts, claimed.unsettled) == (2, 0), "it ended in order"


def test_what_a_dead_relay_had_claimed_is_given_back_at_once_and_nothing_else(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("a", 10), moved("b", 10), moved("c", 10), moved("d", 10))
        dead, alike, alive = ClaimingRelay(store, "dead"), ClaimingRelay(store, "dead%"), ClaimingRelay(store, "alive")
        (lost,) = dead.claim(limit=1)
        others = [*alike.claim(limit=1), *alive.claim(limit=1)]
        assert dead.release("dead", NOW_MICROS + 5, "all") == 1
        assert dead.release("dead", NOW_MICROS + 6, "all") == 0
        (first, second) = alive.claim(now=NOW_MICROS + 5)
        assert lost.change.tracker_id in {first.change.tracker_id, second.change.tracker_id}
        assert {first.unsettled, second.unsettled} == {0, 1}
        assert alive.settle(*(done(c) for c in (*others, first, second))) == 4
        assert dead.settle(done(lost)) == 0


def test_a_suspect_whose_relay_ended_in_order_is_still_one_and_that_end_does_not_count(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("suspect", 10))
        relay = ClaimingRelay(store)
        relay.claim()
        relay.release("relay", NOW_MICROS, "all")
        relay.claim(limit=1)
        store.keep(moved("other", 10))
        relay.claim(limit=1)
        assert relay.release("relay", NOW_MICROS, "all", crashed=False) == 1
        rows = table_rows(tables, "dispatches", "tracker_id", "claim", "unsettled", order="tracker_id")
        assert [tuple(row.values()) for row in rows] == [("other", None, 0), ("suspect", SUSPECT, 1)]


def test_a_suspect_waits_for_longer_after_each_start_of_a_service_that_ends_again_and_again(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("t", 10))
        relay, now, waits = ClaimingRelay(store), NOW_MICROS, []
        for _ in range(4):
            assert len(relay.claim(now=now)) == 1
            assert relay.release(None, now, "all") == 1
            assert relay.release(None, now, "all") == 0, "a start without an attempt does not count"
            (row,) = table_rows(tables, "dispatches", "due_at")
            waits.append((row["due_at"] - now) / 60_000_000)
            now = row["due_at"]
        assert waits == [0, 1, 2, 3]


def test_a_suspect_of_a_relay_whose_clock_was_ahead_is_due(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("t", 10))
        relay = ClaimingRelay(store)
        found = [has_suspects_now(store)]
        for ahead in (LEASE, 10 * 86_400_000_000):
            relay.claim(now=NOW_MICROS + ahead)
            found.append(has_suspects_now(store))
        assert found == [False, False, True]


def has_suspects_now(store: Store) -> bool:
    return store.transactions.run(lambda connection: has_suspects(connection, ["all"], NOW_MICROS))


def test_a_change_that_another_relay_claimed_is_not_failed_by_the_first_one(tables: str) -> None:
    with opened(tables) as store:
        store.keep(moved("t", 10))
        slow, quick = ClaimingRelay(store, "slow"), ClaimingRelay(store, "quick")
        (late,) = slow.claim()
        (now_ours,) = quick.claim(now=NOW_MICROS + LEASE)
        assert slow.settle(done(late)._replace(error="given up")) == 0
        assert table_rows(tables, "dead_changes") == []
        assert quick.settle(done(now_ours)._replace(error="given up")) == 1
        assert (len(table_rows(tables, "dead_changes")), due_at(tables)) == (1, {})


def test_what_the_version_before_puts_there_is_served_in_order(tables: str) -> None:
    """It knows no `unsettled`, and inserts every change as due."""
    names = "target, source, tracker_id, move, event_id, due_at, attempts, claim, error, made_at"
    with opened(tables) as store:
        store.keep(moved("t", 10), moved("t", 11), moved("u", 10))
        copied = f"INSERT INTO dispatches ({names}) SELECT {names} FROM aside"
        change_database(tables, f"CREATE TABLE aside AS SELECT {names} FROM dispatches", "DELETE FROM dispatches")
        change_database(tables, "UPDATE aside SET due_at = 5", copied)
        assert sorted(ClaimingRelay(store).take()) == [("t", 1), ("t", 2), ("u", 1)]


def test_a_change_that_arrives_while_the_one_before_is_settled_still_comes_due(postgresql_url: str) -> None:
    """The first one is removed by a transaction that does not see the second yet; a claim meanwhile sees both."""
    make_tables(postgresql_url)
    with opened(postgresql_url) as store, opened(postgresql_url) as other:
        store.keep(moved("t", 10))
        relay, outbox = ClaimingRelay(store), Outbox(store.database)
        (first,) = relay.claim()

        def settle_slowly(connection: Connection) -> Exchanged:
            outbox.settle(connection, "all", NOW_MICROS, [done(first)])
            other.keep(moved("t", 11))
            return ClaimingRelay(other, "other").exchange()

        meanwhile = store.transactions.run(settle_slowly)
        assert meanwhile == Exchanged([], NOW_MICROS, 0)
        assert [c.change.sequence for c in relay.claim()] == [2]


def give_up(store: Store, *trackers: str) -> None:
    """Set aside the first change of each tracker."""
    store.keep(*(moved(tracker, 10) for tracker in trackers))
    relay = ClaimingRelay(store)
    relay.settle(*(done(c)._replace(error="given up") for c in relay.claim(limit=100)))


def retry_piece(store: Store, only: DeadFilter, after: ChangeKey | None, limit: int) -> InterventionStep:
    return store.transactions.run(
        lambda connection: retry_dead(store.database, connection, "all", NOW_MICROS, only, after, limit)
    )


def retry(store: Store, limit: int = 100, only: DeadFilter = ALL_DEAD) -> list[int]:
    """Retry the dead changes in pieces; return how many each piece has queued."""
    pieces = [retry_piece(store, only, None, limit)]
    while pieces[-1].last is not None:
        pieces.append(retry_piece(store, only, pieces[-1].last, limit))
    return [piece.changes for piece in pieces]


def test_dead_changes_wait_again_piece_by_piece(tables: str) -> None:
    with opened(tables) as store:
        give_up(store, "a", "b", "c")
        assert retry(store, 2, DeadFilter(since=NOW_MICROS + 1)) == [0, 0]
        assert retry(store, 2) == [2, 1]
        assert table_rows(tables, "dead_changes") == []
        assert sorted((c.change.tracker_id, c.attempts) for c in ClaimingRelay(store).claim()) == [("a", 1), ("b", 1), ("c", 1)]


def test_a_change_that_is_both_waiting_and_dead_waits_once_after_a_retry(tables: str) -> None:
    with opened(tables) as store:
        give_up(store, "a", "b")
        names = "target, source, tracker_id, move, event_id"
        copied = f"SELECT {names}, 5, 3, 'it failed', 5 FROM dead_changes WHERE tracker_id = 'a'"
        change_database(tables, f"INSERT INTO dispatches ({names}, due_at, attempts, error, made_at) {copied}")
        assert retry(store) == [2]
        assert table_rows(tables, "dead_changes") == []
        assert sorted(ClaimingRelay(store).take()) == [("a", 1), ("b", 1)]


def test_what_is_given_up_while_a_retry_moves_others_is_not_lost(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    with opened(postgresql_url) as store, opened(postgresql_url) as other:
        give_up(store, "a")

        def retry_slowly(connection: Connection) -> int:
            moved_now = retry_dead(store.database, connection, "all", NOW_MICROS).changes
            give_up(other, "b")
            return moved_now

        assert store.transactions.run(retry_slowly) == 1
        assert [row["tracker_id"] for row in table_rows(postgresql_url, "dead_changes")] == ["b"]
