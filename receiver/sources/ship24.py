"""Ship24: `POST` of `{"trackings": [item, ...]}`. Each item is one message with one `messageId`.

Source: docs.ship24.com, "Webhooks" (overview, specification, delivery, proof of delivery), "Data format", "Trackers"; the OpenAPI
files of 2025-07 and 2026-07.
"""

from collections.abc import Iterator
from datetime import UTC
from typing import Any

import orjson

from receiver.clock import read_iso, to_micros
from receiver.domain.reading import (
    MAX_ITEMS,
    digest,
    read_id,
    read_integer,
    read_json,
    read_object,
    read_short_text,
    read_text,
    write_canonical,
)
from receiver.domain.records import Event, Message, Snapshot
from receiver.domain.trimming import trim
from receiver.errors import UnexpectedShape

EVENTS_TOPIC = "tracking/events"  # older bodies name no topic

_POLLED = (
    "This is a response of Ship24's polling API: it has `trackings` under `data`. A webhook has `trackings` at its root; send "
    "the body as Ship24 posts it."
)
_EXPECTED = 'Expected an object with a list under "trackings", as in {"trackings": [{...}]}.'


def split(body: bytes) -> list[Message]:
    """Return the items of a body in their order. Raises InvalidJson or UnexpectedShape, never because of a single item."""
    root = read_json(body)
    if isinstance(root, dict) and "trackings" not in root and "trackings" in read_object(root.get("data")):
        raise UnexpectedShape(_POLLED)
    items = root.get("trackings") if isinstance(root, dict) else None
    if not isinstance(items, list):
        raise UnexpectedShape(_EXPECTED)
    if sum(_count(item) for item in items) > MAX_ITEMS:
        raise UnexpectedShape(f"Expected at most {MAX_ITEMS} items and events in one delivery.")
    return [_read_item(position, item) for position, item in enumerate(items)]


def _count(item: object) -> int:
    events = item.get("events") if isinstance(item, dict) else None
    return 1 + (len(events) if isinstance(events, list) else 0)


def _read_item(position: int, item: object) -> Message:
    raw = write_canonical(item)
    if raw is None:
        return Message(position, b"", "", quarantine_reason="too_deep", detail="The item is nested too deeply to be read.")
    content = digest(raw)
    if not isinstance(item, dict):
        return Message(
            position, raw, content, quarantine_reason="not_an_object", detail="An item of `trackings` must be an object."
        )
    metadata, tracker = read_object(item.get("metadata")), read_object(item.get("tracker"))
    message_id = read_id(metadata.get("messageId"))  # of the item; the same in retries, resends and other groups
    tracker_id = read_id(tracker.get("trackerId"))  # the only safe key: a tracking number is not unique
    events = item.get("events")
    reason, detail = _find_quarantine_reason(message_id, tracker_id, events)
    return Message(
        position,
        raw,
        content,
        message_id=message_id,
        tracker_id=tracker_id,
        topic=read_short_text(metadata.get("topic")) or EVENTS_TOPIC,
        snapshot=_read_snapshot(tracker, item.get("shipment")),
        events=tuple(_read_events(events)) if reason is None and events else (),
        quarantine_reason=reason,
        detail=detail,
        generated_at=_read_generated_at(metadata.get("generatedAt")),
    )


def _find_quarantine_reason(message_id: str | None, tracker_id: str | None, events: object) -> tuple[str | None, str | None]:
    if message_id is None:
        return "missing_message_id", "Expected a string under `metadata.messageId`."
    if tracker_id is None:
        return "missing_tracker_id", "Expected a string under `tracker.trackerId`."
    if events is not None and not isinstance(events, list):
        return "events_not_a_list", "Expected a list under `events`."
    return None, None


def _read_snapshot(tracker: dict[str, Any], shipment: object) -> Snapshot:
    has_block = isinstance(shipment, dict)  # null means absent; a proof of delivery has none
    return Snapshot(
        tracking_number=read_short_text(tracker.get("trackingNumber")),  # upper-cased by Ship24, not unique
        client_tracker_id=read_short_text(tracker.get("clientTrackerId")),  # the user's own, not unique for ever
        shipment_reference=read_short_text(tracker.get("shipmentReference")),
        shipment=orjson.dumps(shipment).decode() if has_block else None,
        shipment_milestone=read_short_text(read_object(shipment).get("statusMilestone"))
        or None,  # may differ from the newest event's
    )


def _read_generated_at(value: object) -> int:
    """Return the time when Ship24 built the item, in microseconds, UTC; 0 if unknown. It says nothing about the parcel."""
    try:
        moment = read_iso(trim(value)) if isinstance(value, str) else None
    except ValueError:
        return 0
    return max(0, to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))) if moment else 0


def _read_events(events: list[object]) -> Iterator[Event]:
    for event in events:
        raw = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
        content = digest(raw)
        fields = read_object(event)
        occurrence = read_text(fields.get("occurrenceDatetime"))  # the ordering key; `datetime` is deprecated and its Z is false
        reason = "missing_occurrence" if not occurrence else None
        yield Event(
            event_id=read_id(fields.get("eventId")) or "blake2b:" + content,  # kept across messages of a tracker
            occurrence=occurrence,
            order=read_integer(fields.get("order")),
            status=read_text(fields.get("status")),
            status_code=read_short_text(fields.get("statusCode")),
            status_category=read_short_text(fields.get("statusCategory")),
            status_milestone=read_short_text(fields.get("statusMilestone")),
            location=read_text(fields.get("location")),
            courier_code=read_short_text(fields.get("courierCode")),
            raw=raw,
            digest=content,
            quarantine_reason=reason if isinstance(event, dict) else "not_an_object",
        )
