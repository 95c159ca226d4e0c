"""Ship24 as a sender: its time-out, its rule for success, and the messages that it sends.

Source: Ship24 documentation, "Webhooks" (overview, specification, proof of delivery), and its OpenAPI files.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from receiver.testkit.http import HttpReply, Reply, read_object

TIMEOUT_SECONDS = 15.0
"""The time for a complete response (docs.ship24.com/webhooks/delivery)."""

Item = dict[str, Any]


def is_success(reply: Reply) -> bool:
    """Return whether Ship24 takes a response for success: any 2xx is one (docs.ship24.com/webhooks/delivery), a redirect is not.

    A 2xx is none if its JSON says `success: false` (the vendor's own code, 2026-09).
    """
    return isinstance(reply, HttpReply) and 200 <= reply.status < 300 and not says_failed(reply.body)


def says_failed(body: bytes) -> bool:
    """Return whether a body has `success: false`, as a boolean or as text."""
    return str((read_object(body) or {}).get("success")).lower() == "false"


def make_event(
    event_id: str,
    number: str,
    *,
    occurrence: str,
    clock: str,
    status: str = "At the sorting centre",
    order: int | None = None,
    location: str | None = "Lyon, FR",
    code: str | None = None,
    category: str | None = "transit",
    milestone: str = "in_transit",
) -> Item:
    """Return an event of the parcel with this tracking number. `clock` is the courier's wall clock, without a zone."""
    return {
        "eventId": event_id,
        "trackingNumber": number,
        "eventTrackingNumber": number,
        "status": status,
        "occurrenceDatetime": occurrence,
        "order": order,
        "datetime": f"{clock}.000Z",  # deprecated; Ship24 still sends it, and its Z is wrong
        "hasNoTime": len(occurrence) == len("2025-03-03"),
        "utcOffset": None,
        "location": location,
        "sourceCode": "fr-post",
        "courierCode": "fr-post",
        "statusCode": code,
        "statusCategory": category,
        "statusMilestone": milestone,
    }


def make_shipment(
    shipment_id: str,
    number: str,
    *,
    code: str | None = None,
    category: str | None = "transit",
    milestone: str = "in_transit",
    origin: str | None = "SE",
) -> Item:
    """Return the state of a shipment when its message was built."""
    return {
        "shipmentId": shipment_id,
        "statusCode": code,
        "statusCategory": category,
        "statusMilestone": milestone,
        "originCountryCode": origin,
        "destinationCountryCode": "FR",
        "delivery": {"estimatedDeliveryDate": None, "service": None, "signedBy": None},
        "trackingNumbers": [{"tn": number}],
        "recipient": None,
    }


def make_recipient(name: str) -> Item:
    """Return the recipient of a shipment."""
    return {"name": name, "address": "7 B No Street", "postCode": "01180", "city": "Lyon", "subdivision": None}


def make_message(
    metadata: Mapping[str, Any], tracker: Mapping[str, Any], shipment: Mapping[str, Any] | None, events: Sequence[Item]
) -> Item:
    """Return one item of `trackings`."""
    statistics = {"timestamps": {"infoReceivedDatetime": None, "inTransitDatetime": None, "deliveredDatetime": None}}
    return {
        "metadata": dict(metadata),
        "tracker": dict(tracker),
        "shipment": shipment,
        "events": list(events),
        "statistics": statistics,
    }


def make_proof(metadata: Mapping[str, Any], tracker: Mapping[str, Any], data: Mapping[str, Any]) -> Item:
    """Return a proof of delivery: it has no shipment, no events and no statistics."""
    return {"metadata": {**metadata, "topic": "tracking/pod"}, "tracker": dict(tracker), "data": dict(data)}
