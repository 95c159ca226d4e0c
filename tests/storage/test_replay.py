"""Replay of stored deliveries: undecided messages are decided, quarantined ones may be forced, nothing else changes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from receiver.clock import new_id, to_micros
from receiver.domain.changes import Subscription
from receiver.domain.records import Delivery, Submission
from receiver.domain.replays import Replayed, ReplayOptions
from receiver.errors import NotFound, UnexpectedShape
from receiver.sources import Source, make_sources
from receiver.sources.intake import parse_delivery, parse_stored
from receiver.storage.stored_deliveries import read_delivery
from receiver.writer.commands.deliveries import Replay
from tests.harness import ship24
from tests.harness.database_contents import contents, differing
from tests.harness.rows import read_rows, table_rows
from tests.harness.service import wait_until
from tests.harness.storage import WAITING, delete_rows, make_tables, poison
from tests.harness.store import NOW, Store, delivery, opened_twice, submission

FAR_AHEAD = "2027-01-01T10:00:00"
MICROS = to_micros(NOW)
SOURCES = make_sources({}, {})
FIXED = make_sources({"package_id": ["odd_name"]}, {})
ALL = Subscription("all")


class ReplayStore(Store):
    """A store that receives deliveries of any kind, one a second, and replays them."""

    def __init__(self, url: str) -> None:
        super().__init__(url, [ALL])
        self.url = url
        self._calls = 0

    def call(self, body: bytes, source: Source = SOURCES[0]) -> str:
        """Store a delivery; return its id."""
        self._calls += 1
        at = MICROS + self._calls * 1_000_000
        came = delivery(body)._replace(
            id=f"{new_id(NOW)[:-12]}{self._calls:012}", source=source.name, kind=source.kind, received_at=at
        )
        self.keep_submission(parse_delivery(source, came))
        return came.id

    def keep_submission(self, submission: Submission) -> None:
        (answer,) = self.inbox.keep([submission], NOW)
        assert answer is not None

    def replay(
        self, delivery_id: str, *, force: bool = False, dry_run: bool = False, sources: tuple[Source, ...] = SOURCES
    ) -> Replayed:
        submission = parse_stored(sources, read_delivery(self.database, delivery_id))
        order = ReplayOptions(MICROS + 3_600_000_000, force, dry_run)
        return self.executor.do(Replay(submission, order))


@pytest.fixture
def writer_client(database_url: str) -> Iterator[ReplayStore]:
    make_tables(database_url)
    opened = ReplayStore(database_url)
    yield opened
    opened.close()


def verdicts(replayed: Replayed) -> list[tuple[str, str]]:
    """Return what each item was and is."""

    def say(verdict: Any) -> str:
        return "-" if verdict is None else verdict.outcome + (f" {verdict.reason}" if verdict.reason else "")

    return [(say(item.before), say(item.after)) for item in replayed.items]


def package(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def check_again_changes_nothing(writer_client: ReplayStore, delivery_id: str, **how: Any) -> None:
    before = contents(writer_client.url)
    again = writer_client.replay(delivery_id, **how)
    assert (again.changed, again.trackers) == (False, ())
    assert all(not item.changed for item in again.items)
    assert differing(before, contents(writer_client.url)) == set()


@pytest.mark.parametrize("force", [False, True])
def test_what_was_decided_stays_as_it_is(writer_client: ReplayStore, force: bool) -> None:
    event = ship24.event("e1")
    first = writer_client.call(
        ship24.body(ship24.item("m1", "t", [event]), ship24.item("m2", "t", [ship24.event("e0", "2024-01-01")]))
    )
    copy = writer_client.call(ship24.body(ship24.item("m1", "t", [event]), ship24.item("m3", "t", [])))
    manifest = [
        writer_client.call(package(manifest_id=7, status=status), SOURCES[2]) for status in ("Ready", "Ready", "Shipped", "Ready")
    ]
    for delivery_id in (first, copy, *manifest):
        check_again_changes_nothing(writer_client, delivery_id, force=force)
    assert verdicts(writer_client.replay(first)) == [("applied", "applied"), ("stale older", "stale older")]
    assert verdicts(writer_client.replay(copy)) == [("duplicate", "duplicate"), ("recorded", "recorded")]
    assert verdicts(writer_client.replay(manifest[1])) == [("duplicate", "duplicate")]


def test_what_could_not_be_mapped_is_decided_after_the_fix(writer_client: ReplayStore) -> None:
    lost = writer_client.call(package(odd_name="P1", entry_date_time="2025-05-01T10:00:00"), SOURCES[1])
    check_again_changes_nothing(writer_client, lost)
    (row,) = table_rows(writer_client.url, "sightings")
    assert (row["outcome"], row["reason"]) == ("quarantined", "unmapped")
    replayed = writer_client.replay(lost, sources=FIXED)
    assert verdicts(replayed) == [("quarantined unmapped", "applied")]
    (moved,) = replayed.trackers
    assert (moved.tracker_id, moved.before, moved.after.status) == ("P1", None, "received at warehouse")
    (message,) = table_rows(writer_client.url, "messages")
    assert (message["delivery_id"], message["position"], message["outcome"]) == (lost, 0, "applied")
    assert table_rows(writer_client.url, "sightings") == []
    assert table_rows(writer_client.url, "quarantine", "id") == []
    check_again_changes_nothing(writer_client, lost, sources=FIXED)
    check_again_changes_nothing(writer_client, lost, sources=FIXED, force=True)


def test_a_message_that_was_sent_again_after_the_fix_stays_with_its_delivery(writer_client: ReplayStore) -> None:
    body = package(odd_name="P1", entry_date_time="2025-05-01T10:00:00")
    lost = writer_client.call(body, SOURCES[1])
    writer_client.call(body, FIXED[1])
    before = contents(writer_client.url)
    assert verdicts(writer_client.replay(lost, sources=FIXED)) == [("quarantined unmapped", "duplicate")]
    assert differing(before, contents(writer_client.url)) == {"sightings", "quarantine", "deliveries"}
    check_again_changes_nothing(writer_client, lost, sources=FIXED)


def test_an_unreadable_body_is_decided_once_it_can_be_read(writer_client: ReplayStore) -> None:
    came = delivery(ship24.body(ship24.item("m", "t"), 5))
    writer_client.keep_submission(Submission(came, error=UnexpectedShape("Expected something else.")))
    replayed = writer_client.replay(came.id)
    assert verdicts(replayed) == [("-", "applied"), ("-", "quarantined not_an_object")]
    (part,) = table_rows(writer_client.url, "quarantine")
    assert (part["position"], part["reason"], bytes(part["raw"])) == (1, "not_an_object", b"5")
    (row,) = table_rows(writer_client.url, "deliveries")
    assert (row["outcome"], row["status"], row["received"], row["applied"], row["quarantined"]) == ("unreadable", 422, 2, 1, 1)
    check_again_changes_nothing(writer_client, came.id)
    check_again_changes_nothing(writer_client, came.id, force=True)


def test_a_message_without_an_id_is_decided_once_its_body_can_be_read(writer_client: ReplayStore) -> None:
    came = delivery(package(manifest_id=7, status="Ready"))._replace(source="shiipp", kind=SOURCES[2].kind)
    writer_client.keep_submission(Submission(came, error=UnexpectedShape("Expected something else.")))
    replayed = writer_client.replay(came.id)
    assert (replayed.changed, verdicts(replayed)) == (True, [("-", "applied")])
    assert [item.message_id for item in replayed.items] == [f"{came.id}:0"]
    assert [row["message_id"] for row in table_rows(writer_client.url, "messages")] == [f"{came.id}:0"]
    check_again_changes_nothing(writer_client, came.id)


def test_a_body_that_still_cannot_be_read_says_why(writer_client: ReplayStore) -> None:
    lost = writer_client.call(b"{")
    before = contents(writer_client.url)
    replayed = writer_client.replay(lost)
    assert replayed.items == ()
    assert replayed.problem is not None
    assert replayed.problem.startswith("The body must be JSON")
    assert differing(before, contents(writer_client.url)) == set()


def test_what_could_not_be_decided_for_a_fault_of_ours_is_decided_after_it(writer_client: ReplayStore) -> None:
    poison(writer_client.url, "t")
    lost = writer_client.call(ship24.body(ship24.item("poison", "t"), ship24.item("fine", "t2")))
    assert {row["reason"] for row in table_rows(writer_client.url, "quarantine", "reason")} == {"undecidable"}
    delete_rows(writer_client.url, "trackers", tracker_id="t")
    assert verdicts(writer_client.replay(lost)) == [("quarantined undecidable", "applied"), ("applied", "applied")]
    assert {row["message_id"] for row in table_rows(writer_client.url, "messages")} == {"poison", "fine"}
    assert table_rows(writer_client.url, "quarantine", "id") == []
    check_again_changes_nothing(writer_client, lost)


def test_what_still_cannot_be_decided_stays_as_it_is_and_the_others_are_decided(writer_client: ReplayStore) -> None:
    for tracker_id in ("t1", "t2"):
        poison(writer_client.url, tracker_id)
    bad = ship24.item("partly", "t3", [ship24.event("e"), ship24.event("far", FAR_AHEAD)])
    lost = writer_client.call(ship24.body(ship24.item("one", "t1"), ship24.item("two", "t2"), ship24.item("fine", "t0"), bad))
    delete_rows(writer_client.url, "trackers", tracker_id="t1")
    delete_rows(writer_client.url, "trackers", tracker_id="t3")
    poison(writer_client.url, "t3")
    before = table_rows(writer_client.url, "quarantine", tracker_id="t3")
    for dry_run in (True, False):
        found = [after for _, after in verdicts(writer_client.replay(lost, force=True, dry_run=dry_run))]
        assert found == ["applied", "quarantined undecidable", "applied", "applied"]
    assert {row["message_id"] for row in table_rows(writer_client.url, "messages")} == {"one", "fine", "partly"}
    assert table_rows(writer_client.url, "quarantine", tracker_id="t3") == before != []
    check_again_changes_nothing(writer_client, lost)


def test_a_time_far_ahead_is_applied_when_it_is_forced_and_only_then(writer_client: ReplayStore) -> None:
    writer_client.call(ship24.body(ship24.item("m0", "t", [ship24.event("e0")])))
    early = writer_client.call(ship24.body(ship24.item("m1", "t", [ship24.event("e1", FAR_AHEAD, statusMilestone="delivered")])))
    check_again_changes_nothing(writer_client, early)
    replayed = writer_client.replay(early, force=True)
    assert verdicts(replayed) == [("quarantined implausible_future", "applied")]
    (moved,) = replayed.trackers
    assert moved.before is not None
    assert (moved.before.status_milestone, moved.after.status_milestone) == ("in_transit", "delivered")
    assert moved.after.latest_occurrence == FAR_AHEAD
    message = table_rows(writer_client.url, "messages", message_id="m1")[0]
    assert (message["outcome"], message["reason"], message["delivery_id"]) == ("applied", None, early)
    assert table_rows(writer_client.url, "quarantine", "id") == []
    (event,) = table_rows(writer_client.url, "events", event_id="e1")
    assert (event["outcome"], event["move"], event["old_status_milestone"]) == ("applied", 2, "in_transit")
    waiting = table_rows(writer_client.url, "dispatches", event_id="e1")
    assert [(row["target"], row["move"]) for row in waiting] == [("all", 2)]
    check_again_changes_nothing(writer_client, early, force=True)


def test_force_decides_the_quarantined_events_of_a_known_message(writer_client: ReplayStore) -> None:
    events = [ship24.event("e1"), ship24.event("e2", FAR_AHEAD), ship24.event("e3", "yesterday")]
    mixed = writer_client.call(
        ship24.body(ship24.item("m", "t", [ship24.event("e0", "2025-03-02")]), ship24.item("m1", "t", events))
    )
    replayed = writer_client.replay(mixed, force=True)
    assert verdicts(replayed) == [("applied", "applied"), ("stale older", "applied")]
    timeline = {row["event_id"]: row["outcome"] for row in table_rows(writer_client.url, "events", "event_id", "outcome")}
    assert timeline == {"e0": "applied", "e1": "stale", "e2": "applied"}
    (left,) = table_rows(writer_client.url, "quarantine")
    assert (left["event_position"], left["reason"]) == (2, "bad_occurrence")
    check_again_changes_nothing(writer_client, mixed, force=True)


def test_force_names_the_events_of_messages_without_an_id_as_the_first_pass_does(writer_client: ReplayStore) -> None:
    statuses = [
        {"manifest_id": 7, "status": status, "status_date": day} for status, day in (("A", "2062-01-01"), ("B", "2062-01-02"))
    ]
    early = writer_client.call(json.dumps(statuses).encode(), SOURCES[2])
    assert verdicts(writer_client.replay(early, force=True)) == [("quarantined implausible_future", "applied")] * 2
    assert {row["event_id"] for row in table_rows(writer_client.url, "events", "event_id")} == {
        f"{early}:0",
        f"{early}:1",
    }
    check_again_changes_nothing(writer_client, early, force=True)


def test_force_obeys_the_order_of_events(writer_client: ReplayStore) -> None:
    early = writer_client.call(ship24.body(ship24.item("m1", "t", [ship24.event("e1", FAR_AHEAD)])))
    later = writer_client.call(ship24.body(ship24.item("m2", "t", [ship24.event("e2", "2028-01-01")])))
    assert verdicts(writer_client.replay(later, force=True)) == [("quarantined implausible_future", "applied")]
    assert verdicts(writer_client.replay(early, force=True)) == [("quarantined implausible_future", "stale older")]
    (tracker,) = table_rows(writer_client.url, "trackers")
    assert (tracker["latest_event_id"], tracker["moves"]) == ("e2", 1)


def test_a_copy_of_a_message_in_quarantine_stays_a_copy(writer_client: ReplayStore) -> None:
    item = ship24.item("m", "t", [ship24.event("e", FAR_AHEAD)])
    first, copy = writer_client.call(ship24.body(item)), writer_client.call(ship24.body(item))
    check_again_changes_nothing(writer_client, copy, force=True)
    assert writer_client.replay(first, force=True).changed is True


def test_a_message_without_a_tracker_gets_the_one_that_can_be_read_now(writer_client: ReplayStore) -> None:
    body = ship24.body(ship24.item("m", "t"))
    came = parse_delivery(SOURCES[0], delivery(body))
    writer_client.keep_submission(
        came._replace(messages=(came.messages[0]._replace(tracker_id=None, quarantine_reason="missing_tracker_id"),))
    )
    assert writer_client.replay(came.delivery.id).changed is False
    assert verdicts(writer_client.replay(came.delivery.id, force=True)) == [("quarantined missing_tracker_id", "applied")]
    (message,) = table_rows(writer_client.url, "messages")
    assert (message["tracker_id"], message["outcome"]) == ("t", "applied")


@pytest.mark.parametrize("force", [False, True])
def test_a_dry_run_tells_all_and_changes_nothing(writer_client: ReplayStore, force: bool) -> None:
    events = [ship24.event("e1"), ship24.event("e2", FAR_AHEAD)]
    ids = [
        writer_client.call(ship24.body(ship24.item("m1", "t", events), 7)),
        writer_client.call(package(odd_name="P1", manifest_id=4), SOURCES[1]),
    ]
    for delivery_id in ids:
        before = contents(writer_client.url)
        foretold = writer_client.replay(delivery_id, force=force, dry_run=True, sources=FIXED)
        assert differing(before, contents(writer_client.url)) == set()
        assert writer_client.replay(delivery_id, force=force, sources=FIXED) == foretold


def test_a_replay_decides_as_of_the_arrival_of_the_delivery(writer_client: ReplayStore) -> None:
    """Neither has a time, so their arrival decides; and the later word on the manifest stays."""
    lost = writer_client.call(package(odd_name="P1", manifest_id="M1", message_id="early"), SOURCES[1])
    writer_client.call(package(package_id="P1", manifest_id="M2", message_id="late"), SOURCES[1])
    assert verdicts(writer_client.replay(lost, sources=FIXED)) == [("quarantined unmapped", "stale older")]
    (link,) = table_rows(writer_client.url, "links")
    assert link["manifest"] == "manifest:M2"
    (delivery_row,) = table_rows(writer_client.url, "deliveries", id=lost)
    event = table_rows(writer_client.url, "events", outcome="stale")[0]
    assert event["received_at"] == delivery_row["received_at"]


def test_what_is_not_there_and_what_cannot_be_decided_is_said(writer_client: ReplayStore) -> None:
    refused = Delivery(*delivery(b"")._replace(id="refused"))
    writer_client.keep_submission(Submission(refused, error=NotFound("Off.")))
    pruned = writer_client.call(ship24.single())
    delete_rows(writer_client.url, "bodies", delivery_id=pruned)
    for delivery_id, kind, words in (
        ("nothing-like-it", NotFound, "no delivery"),
        ("a\0b", NotFound, "no delivery"),
        ("\ud800", NotFound, "no delivery"),
        ("' OR 1=1 --", NotFound, "no delivery"),
        ("refused", UnexpectedShape, "rejected or not stored"),
        (pruned, UnexpectedShape, "was deleted"),
    ):
        with pytest.raises(kind, match=words):
            writer_client.replay(delivery_id)


def test_a_body_that_is_pruned_between_reading_and_deciding_is_not_decided(writer_client: ReplayStore) -> None:
    lost = writer_client.call(ship24.body(ship24.item("m", "t", [ship24.event("e", FAR_AHEAD)])))
    submission = parse_stored(SOURCES, read_delivery(writer_client.database, lost))
    delete_rows(writer_client.url, "bodies")
    with pytest.raises(UnexpectedShape, match="was deleted"):
        writer_client.executor.do(Replay(submission, ReplayOptions(MICROS, force=True)))
    assert table_rows(writer_client.url, "events", "event_id") == []


def test_the_second_of_two_replays_sees_what_the_first_did(postgresql_url: str) -> None:
    with opened_twice(ReplayStore, postgresql_url) as (one, other, threads):
        early = one.call(ship24.body(ship24.item("m", "t", [ship24.event("e", FAR_AHEAD)])))
        submission = parse_stored(SOURCES, read_delivery(one.database, early))
        with one.database.connect_writer() as connection, connection.begin():
            first = Replay(submission, ReplayOptions(MICROS, force=True)).write(one.executor, connection)
            second = threads.submit(other.replay, early, force=True)
            wait_until(lambda: read_rows(postgresql_url, WAITING), "the second one waits")
        assert verdicts(first) == [("quarantined implausible_future", "applied")]
        assert verdicts(second.result()) == [("applied", "applied")]
        assert second.result().changed is False


def test_a_replay_does_not_overwrite_the_verdict_of_a_copy_that_comes_mended_meanwhile(postgresql_url: str) -> None:
    with opened_twice(ReplayStore, postgresql_url) as (one, other, threads):
        one.call(ship24.body(ship24.item("m0", "t", [ship24.event("e0", "2025-03-02T10:00:00")])))
        early = one.call(ship24.body(ship24.item("m", "t", [ship24.event("e", FAR_AHEAD)])))
        mended = submission(ship24.body(ship24.item("m", "t", [ship24.event("e", "2025-03-01T10:00:00")])))
        with one.database.connect_writer() as connection, connection.begin():
            connection.exec_driver_sql("SELECT 1 FROM trackers FOR UPDATE")
            storing = threads.submit(other.keep_submission, mended)
            wait_until(lambda: len(read_rows(postgresql_url, WAITING)) == 1, "the mended copy waits for the tracker")
            replaying = threads.submit(one.replay, early, force=True)
            wait_until(lambda: len(read_rows(postgresql_url, WAITING)) == 2, "the replay waits for the tracker")
            connection.commit()
            assert verdicts(replaying.result()) == [("quarantined implausible_future", "duplicate content_differs")]
        storing.result()
        (row,) = table_rows(postgresql_url, "messages", "delivery_id", "outcome", "reason", message_id="m")
        assert row == {"delivery_id": mended.delivery.id, "outcome": "stale", "reason": "older"}
