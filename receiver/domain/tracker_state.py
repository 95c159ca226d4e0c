"""The row of a tracker after a snapshot or an event, and the rows of events and changes. Pure."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any
from uuid import UUID

from receiver.domain.changes import SHIPMENT_MOVE_OFFSET
from receiver.domain.newer import EventTime
from receiver.domain.records import Delivery, Event, Message, Snapshot
from receiver.domain.rows import ChangeRow, EventRow, SearchTermRow, ShipmentChangeRow, TrackerRow, derive
from receiver.domain.verdicts import Verdict

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
        source=key[0],
        tracker_id=key[1],
        event_id=event.event_id,
        message_id=message_id,
        occurrence=moment.occurrence.text,
        basis="courier" if event.occurrence else "arrival",
        order=moment.order,
        status=event.status,
        status_code=event.status_code,
        status_category=event.status_category,
        status_milestone=event.status_milestone,
        location=event.location,
        courier_code=event.courier_code,
        outcome=verdict.outcome,
        reason=verdict.reason,
        against=against,
        digest=event.digest,
        received_at=delivery.received_at,
        generated_at=clock,
    )


def with_change(event: EventRow, before: TrackerRow, *cause: str) -> EventRow:
    """Return an event with its change of the tracker. `cause` identifies the reason if the tracker moves to the event again."""
    return event._replace(
        change_id=make_change_id(event, *cause),
        move=before.moves + 1,
        old_status=before.status,
        old_status_milestone=before.status_milestone,
        shipment_milestone=before.shipment_milestone,
    )


def make_change_id(event: EventRow, *cause: str) -> str:
    """Return the id of a change: a UUID of version 8 (RFC 9562, 5.8) made of source, tracker, event and content.

    It is the same after a restore, a rebuild or a replay. When a tracker moves to an event again, that is another change, and its
    cause is part of the id.
    """
    return _make_id(event.source, event.tracker_id, event.event_id, event.digest, *cause)


def _make_id(*names: str) -> str:
    parts = "\0".join(names)
    number = int.from_bytes(blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "big")
    number = number & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62
    return str(UUID(int=number))


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
    return tracker._replace(
        **snapshot._asdict(),
        snapshot_generated_at=generated_at,
        snapshot_message_id=message_id,
        shipment_moves=tracker.shipment_moves + int(snapshot.shipment_milestone != tracker.shipment_milestone),
    )


def advance(tracker: TrackerRow, event: EventRow, at: int, moves: int) -> TrackerRow:
    """Return the tracker with this event as its latest one since `at` (microseconds). `moves` counts its changes so far."""
    return tracker._replace(
        status=event.status,
        status_code=event.status_code,
        status_category=event.status_category,
        status_milestone=event.status_milestone,
        location=event.location,
        latest_occurrence=event.occurrence,
        latest_order=event.order,
        latest_event_id=event.event_id,
        latest_message_id=event.message_id,
        latest_digest=event.digest,
        applied_at=at,
        moved_at=at,
        moves=moves,
    )


def stop_at_no_event(tracker: TrackerRow, at: int) -> TrackerRow:
    """Return the tracker without a latest event since `at`, which is a change."""
    names = (name for name in TrackerRow._fields if name.startswith(("status", "latest_")))
    nothing: dict[str, Any] = dict.fromkeys((*names, "location", "applied_at"))
    return tracker._replace(**nothing, moved_at=at, moves=tracker.moves + 1)
