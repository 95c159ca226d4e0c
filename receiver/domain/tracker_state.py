"""The row of a tracker after a snapshot or an event, and the rows of events and changes. Pure."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from receiver.domain.changes import SHIPMENT_MOVE_OFFSET
from receiver.domain.newer import EventTime
from receiver.domain.records import Delivery, Event, Message, Snapshot
from receiver.domain.rows import ChangeRow, EventRow, SearchTermRow, ShipmentChangeRow, TrackerRow, derive
from receiver.domain.verdicts import Verdict

_CHANGE = slice(EventRow._fields.index("change_id"), EventRow._fields.index("old_status_milestone") + 1)
_SNAPSHOT = slice(TrackerRow._fields.index("tracking_number"), TrackerRow._fields.index("snapshot_message_id") + 1)
_LATEST = slice(TrackerRow._fields.index("status"), TrackerRow._fields.index("moves") + 1)
_SHIPMENT = TrackerRow._fields.index("shipment_milestone")  # and after it their number
_IN_CHANGES = ("occurrence", "status", "status_code", "status_category", "status_milestone", "location")


def make_event_row(
    key: tuple[str, str],
    delivery: Delivery,
    message_id: str,
    event: Event,
    moment: EventTime,
    verdict: Verdict,
    against: str | None,
    clock: int,
) -> EventRow:
    """Return the row of an event. `clock` is that of its message."""
    return EventRow(
        *key,
        event.event_id,
        message_id,
        moment.occurrence.text,
        "courier" if event.occurrence else "arrival",
        moment.order,
        event.status,
        event.status_code,
        event.status_category,
        event.status_milestone,
        event.location,
        event.courier_code,
        verdict.outcome,
        verdict.reason,
        against,
        event.digest,
        delivery.received_at,
        generated_at=clock,
    )


def with_change(event: EventRow, before: TrackerRow, *cause: str) -> EventRow:
    """Return an event with its change of the tracker. `cause` identifies the reason if the tracker moves to the event again."""
    change = make_change_id(event, *cause), before.moves + 1, before.status, before.status_milestone
    return EventRow._make((*event[: _CHANGE.start], *change, *event[_CHANGE.stop : -1], before.shipment_milestone))


def make_change_id(event: EventRow, *cause: str) -> str:
    """Return the id of a change: a UUID of version 8 (RFC 9562, 5.8) made of source, tracker, event and content.

    It is the same after a restore, a rebuild or a replay. When a tracker moves to an event again, that is another change, and its
    cause is part of the id.
    """
    return _make_id(event.source, event.tracker_id, event.event_id, event.digest, *cause)


def _make_id(*names: str) -> str:
    parts = "\0".join(names)
    number = int.from_bytes(blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "big")
    text = f"{number & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def make_change_row(event: EventRow, cause: str | None = None) -> ChangeRow:
    """Return the change that an event's row contains, as a row of its own."""
    return derive(ChangeRow, event, move=event.move or 0, change_id=event.change_id or "", cause=cause)


def make_shipment_change(message_id: str, at: int, before: TrackerRow | None, after: TrackerRow) -> ShipmentChangeRow:
    """Return the change of the sender's own milestone by a message that was received at `at`.

    Its id is made of source, tracker, the milestones before and after, and the message.
    """
    old = None if before is None else before.shipment_milestone
    names = (after.source, after.tracker_id, old or "", after.shipment_milestone or "", message_id)
    return derive(
        ShipmentChangeRow,
        after,
        move=SHIPMENT_MOVE_OFFSET + after.shipment_moves,
        change_id=_make_id("shipment", *names),
        event_id=after.latest_event_id,
        message_id=message_id,
        occurrence=after.latest_occurrence,
        old_status=None if before is None else before.status,
        old_status_milestone=None if before is None else before.status_milestone,
        received_at=at,
        old_shipment_milestone=old,
    )


def makes_same_change(one: EventRow, other: EventRow) -> bool:
    """Tell whether two versions of an event differ only in fields that no change contains."""
    return all(getattr(one, name) == getattr(other, name) for name in _IN_CHANGES)


def new_tracker(
    key: tuple[str, str], delivery: Delivery, message: Message, snapshot: Snapshot, generated_at: int, message_id: str
) -> TrackerRow:
    """Return a new tracker from its first snapshot."""
    return TrackerRow(
        source=key[0],
        tracker_id=key[1],
        version=1,
        subject=message.subject,
        **snapshot._asdict(),
        snapshot_generated_at=generated_at,
        snapshot_message_id=message_id,
        created_at=delivery.received_at,
        moved_at=delivery.received_at,
        shipment_moves=int(snapshot.shipment_milestone is not None),
        test_run=delivery.test_run,
    )


def search_terms_of(key: tuple[str, str], names: Iterable[str | None]) -> set[SearchTermRow]:
    """Return the terms that find a tracker by these names, ignoring case."""
    return {SearchTermRow(name.casefold(), *key) for name in names if name}


def take_snapshot(tracker: TrackerRow, snapshot: Snapshot, generated_at: int, message_id: str) -> TrackerRow:
    """Return the tracker with the fields of a later snapshot."""
    details = *snapshot[:-1], generated_at, message_id
    milestone = snapshot.shipment_milestone
    moves = tracker.shipment_moves + int(milestone != tracker.shipment_milestone)
    kept = tracker[: _SNAPSHOT.start], tracker[_SNAPSHOT.stop : _SHIPMENT], tracker[_SHIPMENT + 2 :]
    return TrackerRow._make((*kept[0], *details, *kept[1], milestone, moves, *kept[2]))


def advance(tracker: TrackerRow, event: EventRow, at: int, moves: int) -> TrackerRow:
    """Return the tracker with this event as its latest one since `at` (microseconds). `moves` counts its changes so far."""
    latest = (
        event.status,
        event.status_code,
        event.status_category,
        event.status_milestone,
        event.location,
        event.occurrence,
        event.order,
        event.event_id,
        event.message_id,
        event.digest,
        at,
        at,
        moves,
    )
    return TrackerRow._make((*tracker[: _LATEST.start], *latest, *tracker[_LATEST.stop :]))


def stop_at_no_event(tracker: TrackerRow, at: int) -> TrackerRow:
    """Return the tracker without a latest event since `at`, which is a change."""
    names = (name for name in TrackerRow._fields if name.startswith(("status", "latest_")))
    nothing: dict[str, Any] = dict.fromkeys((*names, "location", "applied_at"))
    return tracker._replace(**nothing, moved_at=at, moves=tracker.moves + 1)
