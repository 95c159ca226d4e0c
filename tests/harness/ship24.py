"""Bodies as Ship24 sends them, smallest first."""

import json
from collections.abc import Iterable
from itertools import count
from typing import Any

Item = dict[str, Any]
_numbers = count(1)


def event(event_id: str | None = None, occurrence: str | None = "2025-03-01T10:00:00", **fields: Any) -> Item:
    """Return one event; without an id it gets one of its own."""
    number = next(_numbers)
    return {
        "eventId": event_id or f"event-{number}",
        "occurrenceDatetime": occurrence,
        "order": None,
        "status": "Arrived at the sorting centre",
        "statusCode": None,
        "statusCategory": "transit",
        "statusMilestone": "in_transit",
        "location": "Lyon",
        "courierCode": "fr-post",
        **fields,
    }


def item(
    message_id: str | None = None,
    tracker_id: str | None = None,
    events: Iterable[Item] | None = None,
    generated_at: str | None = "2025-03-01T10:05:00.000Z",
    **fields: Any,
) -> Item:
    """Return one update; without ids it is a new message of a new tracker, without events it has one."""
    number = next(_numbers)
    tracker_id = tracker_id or f"tracker-{number}"
    return {
        "metadata": {"generatedAt": generated_at, "messageId": message_id or f"message-{number}", "topic": "tracking/events"},
        "tracker": {"trackerId": tracker_id, "trackingNumber": f"TN-{tracker_id}", "clientTrackerId": None, "isSubscribed": True},
        "shipment": {"shipmentId": f"shipment-{tracker_id}", "statusMilestone": "in_transit", "recipient": None},
        "events": [event()] if events is None else list(events),
        **fields,
    }


def body(*items: Any) -> bytes:
    """Return the body of one delivery."""
    return json.dumps({"trackings": items}).encode()


def single(message_id: str | None = None, **fields: Any) -> bytes:
    """Return the body of a delivery with one message."""
    return body(item(message_id, **fields))
