"""What a tracker becomes, and the ids of its changes, by which targets recognise them for ever."""

from uuid import RFC_4122, UUID

from receiver.domain.records import Snapshot
from receiver.domain.rows import EventRow, TrackerRow
from receiver.domain.tracker_state import (
    advance,
    make_change_id,
    make_change_row,
    make_shipment_change,
    take_snapshot,
    with_change,
)
from tests.domain.test_batch import RECEIVED_AT, T1, T2, deliver, event, make_batch_state, message, state, words


def test_the_id_of_a_change_is_made_of_what_it_is_about_and_of_nothing_else() -> None:
    batch_state = make_batch_state()
    deliver(batch_state, message("m1", event("a", T1)))
    row = batch_state.changes[0]._replace(digest="0" * 32)
    assert make_change_id(row) == "1d00d1b7-137d-8aa5-acdb-98b9adf5d40b"
    assert make_change_id(row, "m2") == "5c176f06-181a-8b08-a169-2af58e563640"
    assert make_change_id(row._replace(message_id="m9", received_at=0, move=7)) == make_change_id(row)


def test_the_id_of_a_change_is_a_uuid_of_version_8() -> None:
    batch_state = make_batch_state()
    deliver(batch_state, *(message(f"m{number}", event(f"e{number}", T1, number)) for number in range(50)))
    ids = {UUID(str(row.change_id)) for row in batch_state.changes}
    assert len(ids) == 50
    assert {(made.version, made.variant) for made in ids} == {(8, RFC_4122)}


def test_a_change_in_a_row_of_its_own_says_what_the_row_of_its_event_said() -> None:
    batch_state = make_batch_state()
    deliver(batch_state, message("m1", event("a", T1)), message("m2", event("b", T2)))
    row = batch_state.changes[1]
    kept = make_change_row(row, "m3")
    assert (kept.change_id, kept.move, kept.event_id, kept.cause) == (row.change_id, 2, "b", "m3")


def test_a_revision_of_what_no_change_contains_is_no_change() -> None:
    batch_state, first = make_batch_state(), event("a", T1)
    courier, place = first._replace(courier_code="se-nordpak", digest="1"), first._replace(location="Rosersberg", digest="2")
    revisions = (message(f"m{at}", each, at=at) for at, each in enumerate([first, courier, place]))
    assert words(deliver(batch_state, *revisions)) == ["applied", "applied revised", "applied revised"]
    assert [row.digest for row in batch_state.changes] == [first.digest, "2"]


def test_a_change_of_the_senders_own_view_names_both_milestones() -> None:
    batch_state = make_batch_state()
    views = [Snapshot("AB12", None, None, f'{{"n":{at}}}', view) for at, view in enumerate(["in_transit", "delivered"])]
    deliver(batch_state, message("m1", event("a", T1, status="Sorted"), snapshot=views[0], at=1))
    before = state(batch_state)
    deliver(batch_state, message("m2", snapshot=views[1], at=2), number=2)
    after = state(batch_state)
    first, second = make_shipment_change("m1", RECEIVED_AT, None, before), make_shipment_change("m2", RECEIVED_AT, before, after)
    assert (first.old_shipment_milestone, first.old_status, second.old_shipment_milestone, second.old_status) == (
        *(None, None, "in_transit", "Sorted"),
    )
    assert (first.change_id, second.change_id) == ("49fabdc5-1f3c-8203-8f17-924aa118e0a4", "6c7ff477-2041-80e6-bf89-1cebe3c50a83")
    assert second.move == first.move + 1


def test_each_step_of_a_tracker_sets_the_fields_of_its_own_and_no_other() -> None:
    tracker = TrackerRow._make(range(100, 100 + len(TrackerRow._fields)))
    row = EventRow._make(map(str, range(len(EventRow._fields))))
    latest = {f"latest_{name}": getattr(row, name) for name in ("order", "event_id", "message_id", "digest", "occurrence")}
    status = {name: getattr(row, name) for name in TrackerRow._fields if name in row._fields and name.startswith("status")}
    assert advance(tracker, row, 7, 8) == tracker._replace(
        **latest, **status, location=row.location, applied_at=7, moved_at=7, moves=8
    )
    details = Snapshot("number", "own", "reference", "{}", "delivered")
    assert take_snapshot(tracker, details, 9, "m1") == tracker._replace(
        **details._asdict(), snapshot_generated_at=9, snapshot_message_id="m1", shipment_moves=tracker.shipment_moves + 1
    )
    assert with_change(row, tracker, "m1") == row._replace(
        change_id=make_change_id(row, "m1"),
        move=tracker.moves + 1,
        old_status=tracker.status,
        old_status_milestone=tracker.status_milestone,
        shipment_milestone=tracker.shipment_milestone,
    )
