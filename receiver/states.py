"""What a snapshot and an event make of a tracker's row. Pure."""

from collections.abc import Iterable

from receiver.occurrence import Moment
from receiver.records import Delivery, Event, Message, Snapshot, Verdict
from receiver.rows import EventRow, TrackerRow


def make_event_row(
    key: tuple[str, str],
    delivery: Delivery,
    message_id: str,
    event: Event,
    moment: Moment,
    verdict: Verdict,
    before: TrackerRow,
    change_id: str | None,
) -> EventRow:
    """Return an event as it stands in the timeline; `before` is the tracker when it was decided, `change_id` names its change."""
    changed = (change_id, before.moves + 1, before.status, before.status_milestone) if change_id else ()
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
        before.latest_event_id,
        event.digest,
        delivery.received_at,
        *changed,
    )


def new_tracker(
    key: tuple[str, str], delivery: Delivery, message: Message, snapshot: Snapshot, generated_at: int, message_id: str
) -> TrackerRow:
    """Return a tracker of which nothing is known but this snapshot."""
    return TrackerRow(
        source=key[0],
        tracker_id=key[1],
        version=1,
        subject=message.subject,
        tracking_number=snapshot.tracking_number,
        client_tracker_id=snapshot.client_tracker_id,
        shipment_reference=snapshot.shipment_reference,
        shipment=snapshot.shipment,
        snapshot_generated_at=generated_at,
        snapshot_message_id=message_id,
        created_at=delivery.received_at,
        moved_at=delivery.received_at,
    )


def terms_of(key: tuple[str, str], names: Iterable[str | None]) -> set[tuple[str, str, str]]:
    """Return the terms by which a tracker with these names is found, without case."""
    return {(name.casefold(), *key) for name in names if name}


def take_snapshot(tracker: TrackerRow, snapshot: Snapshot, generated_at: int, message_id: str) -> TrackerRow:
    """Return the tracker with the fields of a later snapshot."""
    return tracker._replace(
        tracking_number=snapshot.tracking_number,
        client_tracker_id=snapshot.client_tracker_id,
        shipment_reference=snapshot.shipment_reference,
        shipment=snapshot.shipment,
        snapshot_generated_at=generated_at,
        snapshot_message_id=message_id,
    )


def advance(tracker: TrackerRow, event: EventRow) -> TrackerRow:
    """Return the tracker moved to this event."""
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
        applied_at=event.received_at,
        moved_at=event.received_at,
        moves=tracker.moves + 1,
    )
