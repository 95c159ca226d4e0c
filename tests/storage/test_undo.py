"""A forced event is taken back: the tracker stands at the newest event that remains, and the event is in quarantine again."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from receiver.clock import to_micros
from receiver.domain.changes import Change, Subscription
from receiver.domain.records import UnreadDelivery
from receiver.domain.replays import Replayed, ReplayOptions
from receiver.sources import make_sources
from receiver.sources.intake import parse_delivery, parse_stored, parse_unread
from receiver.storage.outbox import Outcome
from receiver.storage.stored_deliveries import fingerprint, read_delivery
from receiver.writer.commands.deliveries import Replay
from tests.harness import ship24
from tests.harness.database_contents import contents, differing
from tests.harness.rows import read_rows, table_rows
from tests.harness.service import wait_until
from tests.harness.ship24 import Item
from tests.harness.storage import WAITING, delete_rows, make_tables
from tests.harness.store import NOW, Store, delivery, opened_twice
from tests.harness.table import each_row

FAR_AHEAD = "2062-01-01T10:00:00"
FARTHER = "2070-01-01T10:00:00"
SOON = "2025-06-04T10:00:00"  # three days after NOW
DAY = 86_400_000_000
SOURCES = make_sources({}, {})
_VERDICT = {"outcome", "reason", "against", "change_id", "move", "old_status", "old_status_milestone", "shipment_milestone"}


class UndoStore(Store):
    """A store whose deliveries are forced and taken back, each an hour after the one before; all changes are for one target."""

    def __init__(self, url: str) -> None:
        super().__init__(url, [Subscription("all")])
        self.url = url
        self._hours = 0

    def send(self, *items: Item, days: int = 0) -> str:
        """Store a delivery that arrives some days after NOW; return its id."""
        came = delivery(ship24.body(*items))
        came = came._replace(received_at=came.received_at + days * DAY)
        assert None not in self.inbox.keep([parse_delivery(SOURCES[0], came)], NOW)
        return came.id

    def send_event(self, message_id: str, event_id: str, occurrence: str, days: int = 0, **fields: Any) -> str:
        """Store a delivery with one event of tracker `t`."""
        return self.send(ship24.item(message_id, "t", [ship24.event(event_id, occurrence, **fields)]), days=days)

    def force(self, *delivery_ids: str) -> None:
        for delivery_id in delivery_ids:
            assert self.executor.do(self._replay(delivery_id, force=True)).changed is True

    def undo(self, delivery_id: str, *, dry_run: bool = False) -> Replayed:
        return self.executor.do(self._replay(delivery_id, undo=True, dry_run=dry_run))

    def _replay(self, delivery_id: str, **options: bool) -> Replay:
        self._hours += 1
        came = read_delivery(self.database, delivery_id, needs_body=False)
        order = ReplayOptions(to_micros(NOW) + self._hours * 3_600_000_000, as_read=fingerprint(came.body), **options)
        return Replay(parse_unread(SOURCES, 1 << 20, UnreadDelivery(came)), order)

    def tracker(self) -> tuple[str | None, str | None, int]:
        """Return the latest event of tracker `t`, its status, and the number of its changes."""
        (row,) = table_rows(self.url, "trackers", tracker_id="t")
        return row["latest_event_id"], row["status"], row["moves"]

    def verdict(self, message_id: str) -> str:
        (row,) = table_rows(self.url, "messages", message_id=message_id)
        return " ".join(filter(None, (row["outcome"], row["reason"])))

    def quarantined(self) -> list[tuple[str, int | None, str]]:
        rows = table_rows(self.url, "quarantine", order="message_id, event_position")
        return [(row["message_id"], row["event_position"], row["reason"]) for row in rows]

    def hand_on(self) -> list[Change]:
        """Deliver all waiting changes to the target; return them in order."""
        told: list[Change] = []
        outcomes: list[Outcome] = []
        with self.database.connect_writer() as connection, connection.begin():
            while True:
                now = to_micros(NOW) + DAY + len(told)
                exchanged = self.executor.outbox.exchange(connection, "all", f"m{now}", now, now + DAY, 9, outcomes)
                outcomes = [Outcome(one.mark, *one.change.stored_key) for one in exchanged.claimed]
                told += [one.change for one in exchanged.claimed]
                if not exchanged.claimed and not exchanged.blocked:
                    return told


@pytest.fixture
def store(database_url: str) -> Iterator[UndoStore]:
    make_tables(database_url)
    with closing(UndoStore(database_url)) as found:
        yield found


def content_of(store: UndoStore) -> dict[str, Any]:
    """Return the state that does not depend on the order of arrival: versions of events, verdicts, quarantine, latest event."""
    names = ("tracker_id", "event_id", "message_id", "digest", "occurrence")
    trackers = ("tracker_id", "latest_event_id", "latest_message_id", "latest_occurrence", "status", "location")
    quarantine = ("delivery_id", "position", "event_position", "message_id", "tracker_id", "reason", "detail", "raw")
    deliveries = ("id", "received", "quarantined")
    return {
        table: sorted(tuple(row.values()) for row in table_rows(store.url, table, *columns))
        for table, columns in (
            ("events", names),
            ("superseded_events", names),
            ("trackers", trackers),
            ("quarantine", quarantine),
            ("deliveries", deliveries),
        )
    }


def before_a_newer_event(store: UndoStore) -> list[str]:
    return [store.send_event("m1", "e1", FAR_AHEAD)]


def over_a_known_event(store: UndoStore) -> list[str]:
    store.send_event("m0", "e0", "2025-03-01T10:00:00", status="Sorted")
    return [store.send_event("m1", "e1", FAR_AHEAD)]


def twice(store: UndoStore) -> list[str]:
    store.send_event("m0", "e0", "2025-03-01T10:00:00")
    return [store.send_event("m1", "e1", FAR_AHEAD), store.send_event("m2", "e2", FARTHER)]


def as_a_correction(store: UndoStore) -> list[str]:
    store.send_event("m0", "e1", "2025-03-01T10:00:00", status="Sorted")
    corrected = ship24.item("m1", "t", [ship24.event("e1", FAR_AHEAD)], "2025-03-02T10:00:00.000Z")
    return [store.send(corrected)]


def as_an_earlier_version(store: UndoStore) -> list[str]:
    store.send_event("m0", "e1", "2025-03-01T10:00:00", status="Sorted")
    return [store.send(ship24.item("m1", "t", [ship24.event("e1", FAR_AHEAD)], "2025-02-01T10:00:00.000Z"))]


def with_other_events(store: UndoStore) -> list[str]:
    store.send_event("m0", "e0", "2025-03-01T10:00:00")
    events = [ship24.event("e1", "2025-03-02T10:00:00"), ship24.event("e2", FAR_AHEAD), ship24.event("e3", "yesterday")]
    known = [ship24.event("e0", "2025-03-01T10:00:00"), ship24.event("e4", FARTHER)]
    return [store.send(ship24.item("m1", "t", events), ship24.item("m2", "t", known), ship24.item("m3", "u"))]


@each_row("begin", [before_a_newer_event, over_a_known_event, twice, as_a_correction, as_an_earlier_version, with_other_events])
def test_after_an_undo_the_state_is_that_of_a_delivery_that_was_never_forced(
    store: UndoStore, begin: Callable[[UndoStore], list[str]]
) -> None:
    store.clear()
    ids = begin(store)
    before, verdicts = content_of(store), table_rows(store.url, "messages", order="message_id")
    store.force(*ids)
    assert content_of(store) != before
    for delivery_id in ids:
        forced = contents(store.url)
        foretold = store.undo(delivery_id, dry_run=True)
        assert differing(forced, contents(store.url)) == set()
        done = store.undo(delivery_id)
        assert foretold[1:3] == done[1:3]
        assert done.changed is True
    after = content_of(store)
    if not before["trackers"]:  # its names stay: it was created by the forced event
        assert after.pop("trackers") == [("t", None, None, None, None, None)]
        del before["trackers"]
    assert after == before
    assert table_rows(store.url, "messages", order="message_id") == verdicts
    done_before = contents(store.url)
    for delivery_id in ids:
        again = store.undo(delivery_id)
        assert (again.changed, again.trackers) == (False, ())
    assert differing(done_before, contents(store.url)) == set()
    store.force(*ids)
    assert store.tracker()[2] > 0


def test_the_tracker_moves_to_an_event_that_came_after_the_forced_one_and_targets_receive_it(store: UndoStore) -> None:
    store.send_event("m0", "e0", "2025-03-01T10:00:00", statusMilestone="in_transit")
    early = store.send_event("m1", "e1", FAR_AHEAD, statusMilestone="delivered")
    store.force(early)
    store.send_event("m2", "e2", "2025-03-03T10:00:00", statusMilestone="out_for_delivery")
    store.send_event("m3", "e3", "2025-03-02T10:00:00", statusMilestone="exception")
    (moved,) = store.undo(early).trackers
    assert moved.before is not None
    assert (moved.before.latest_occurrence, moved.after.latest_occurrence) == (FAR_AHEAD, "2025-03-03T10:00:00")
    assert moved.warning is None
    assert store.tracker()[::2] == ("e2", 3)
    assert store.quarantined() == [("m1", 0, "implausible_future")]
    told = store.hand_on()
    assert [(one.sequence, one.event_id, one.old_status_milestone, one.status_milestone) for one in told] == [
        (1, "e0", None, "in_transit"),
        (2, "e1", "in_transit", "delivered"),
        (3, "e2", "delivered", "out_for_delivery"),
    ]
    assert (told[2].message_id, told[2].occurrence) == ("m2", "2025-03-03T10:00:00")
    store.send_event("m4", "e4", "2025-03-04T10:00:00")
    assert store.tracker()[::2] == ("e4", 4)


def test_without_another_event_the_change_leads_to_no_event(store: UndoStore) -> None:
    early = store.send_event("m1", "e1", FAR_AHEAD, status="Delivered", statusMilestone="delivered")
    store.force(early)
    store.undo(early)
    assert store.tracker() == (None, None, 2)
    _, told = store.hand_on()
    assert (told.sequence, told.event_id, told.occurrence, told.status, told.status_milestone) == (2, None, None, None, None)
    assert (told.old_status, told.old_status_milestone, told.message_id) == ("Delivered", "delivered", "m1")
    store.send_event("m2", "e2", "2025-03-01T10:00:00")
    assert store.tracker()[::2] == ("e2", 3)


def test_each_change_to_the_same_event_has_an_id_of_its_own(store: UndoStore) -> None:
    store.send_event("m0", "e0", "2025-03-01T10:00:00")
    early = store.send_event("m1", "e1", SOON)
    for _ in range(2):
        store.force(early)
        store.undo(early)
    store.send_event("m2", "e1", SOON, days=2)
    told = store.hand_on()
    assert [one.event_id for one in told] == ["e0", "e1", "e0", "e1", "e0", "e1"]
    assert len({one.id for one in told}) == 6


def test_an_event_that_came_again_within_the_limit_stays(store: UndoStore) -> None:
    early = store.send_event("m1", "e1", SOON)
    store.force(early)
    store.send(ship24.item("m2", "t", [ship24.event("e1", SOON)], "2025-03-02T10:00:00.000Z"), days=2)
    assert store.undo(early).changed is False
    assert store.tracker()[0] == "e1"


def test_a_copy_without_an_id_of_its_own_that_came_within_the_limit_keeps_the_event(store: UndoStore) -> None:
    ids = []
    for days in (0, 2):
        body = json.dumps([{"manifest_id": 7, "status": "A", "status_date": SOON[:10]}]).encode()
        came = delivery(body)._replace(source="shiipp", kind=SOURCES[2].kind)
        came = came._replace(received_at=came.received_at + days * DAY)
        store.inbox.keep([parse_stored(SOURCES, came)], NOW)
        ids.append(came.id)
        if days == 0:
            store.force(came.id)
    assert store.undo(ids[0]).changed is False
    (message,) = table_rows(store.url, "messages")
    assert message["outcome"] == "applied"
    delete_rows(store.url, "sightings")
    assert store.undo(ids[0]).changed is True
    assert store.quarantined() == [(f"{ids[0]}:0", 0, "implausible_future")]


def test_a_forced_event_that_was_corrected_since_leaves_the_tracker_where_it_is(store: UndoStore) -> None:
    early = store.send_event("m1", "e1", FAR_AHEAD)
    store.force(early)
    store.send(ship24.item("m2", "t", [ship24.event("e1", "2025-03-01T10:00:00")], "2025-03-02T10:00:00.000Z"))
    assert store.tracker()[::2] == ("e1", 2)
    done = store.undo(early)
    assert (done.changed, done.trackers) == (True, ())
    assert table_rows(store.url, "superseded_events", "event_id") == []
    assert (store.verdict("m1"), store.verdict("m2")) == ("quarantined implausible_future", "applied revised")


def test_a_version_that_counts_again_may_be_newer_than_the_current_status(store: UndoStore) -> None:
    early = store.send(ship24.item("m1", "t", [ship24.event("e1", SOON)], "2025-03-05T10:00:00.000Z"))
    store.force(early)
    store.send_event("m2", "e2", "2025-06-10T10:00:00", days=9)
    store.send(ship24.item("m3", "t", [ship24.event("e1", "2025-06-19T10:00:00")], "2025-03-01T10:00:00.000Z"), days=19)
    assert (store.tracker()[0], store.verdict("m3")) == ("e2", "stale superseded")
    (moved,) = store.undo(early).trackers
    assert moved.after.latest_occurrence == "2025-06-19T10:00:00"
    assert store.tracker()[::2] == ("e1", 3)


def test_a_forced_event_that_did_not_become_the_latest_one_leaves_the_tracker_where_it_is(store: UndoStore) -> None:
    late, early = store.send_event("m2", "e2", FARTHER), store.send_event("m1", "e1", FAR_AHEAD)
    store.force(late, early)
    assert store.verdict("m1") == "stale older"
    done = store.undo(early)
    assert (done.changed, done.trackers) == (True, ())
    assert (store.tracker()[0], store.verdict("m1")) == ("e2", "quarantined implausible_future")


def test_an_event_is_taken_back_with_the_delivery_that_brought_it(store: UndoStore) -> None:
    first, copy = store.send_event("m1", "e1", FAR_AHEAD), store.send_event("m2", "e1", FAR_AHEAD)
    store.force(first, copy)
    assert store.verdict("m2") == "duplicate"
    assert store.undo(copy).changed is False
    assert store.undo(first).changed is True
    assert store.tracker()[0] is None


def test_a_tracker_that_then_stands_at_another_event_of_the_future_is_warned_of(store: UndoStore) -> None:
    early, late = store.send_event("m1", "e1", FAR_AHEAD), store.send_event("m2", "e2", FARTHER)
    store.force(early, late)
    (moved,) = store.undo(late).trackers
    assert moved.after.latest_occurrence == FAR_AHEAD
    assert moved.warning is not None
    assert FAR_AHEAD in moved.warning


def test_an_event_is_taken_back_after_its_body_was_pruned(store: UndoStore) -> None:
    store.send_event("m0", "e0", "2025-03-01T10:00:00")
    early = store.send_event("m1", "e1", FAR_AHEAD)
    store.force(early)
    delete_rows(store.url, "bodies", delivery_id=early)
    assert store.undo(early).changed is True
    assert store.tracker()[0] == "e0"
    assert store.quarantined() == [("m1", None, "implausible_future")]


def test_an_event_that_another_process_stores_meanwhile_is_seen(postgresql_url: str) -> None:
    with opened_twice(UndoStore, postgresql_url) as (one, other, threads):
        early = one.send_event("m1", "e1", FAR_AHEAD)
        one.force(early)
        with one.database.connect_writer() as connection, connection.begin():
            connection.exec_driver_sql("SELECT 1 FROM trackers FOR UPDATE")
            storing = threads.submit(other.send_event, "m2", "e2", "2025-03-01T10:00:00")
            wait_until(lambda: len(read_rows(postgresql_url, WAITING)) == 1, "the delivery waits for the tracker")
            undoing = threads.submit(one.undo, early)
            wait_until(lambda: len(read_rows(postgresql_url, WAITING)) == 2, "the undo waits for the tracker")
            connection.commit()
            undoing.result()
        storing.result()
        assert one.tracker()[0] == "e2"
