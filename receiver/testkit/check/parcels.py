"""Bodies as Ship24 posts them, of parcels that exist nowhere: a run's ids are its own, so it can be repeated on any receiver."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid5
from zlib import crc32

import orjson

Item = dict[str, Any]

_NAMESPACE = UUID("9d3c3e1e-6f0b-5b8a-9f57-2f0c6a6b1d10")
_EAST = timezone(timedelta(hours=2))

JOURNEY = (  # oldest first; not monotone, as in life
    ("Shipment information received", "info_received"),
    ("Picked up", "in_transit"),
    ("Left the country of origin", "in_transit"),
    ("Held by customs", "exception"),
    ("Released by customs", "in_transit"),
    ("Out for delivery", "out_for_delivery"),
    ("Nobody at home", "failed_attempt"),
    ("Out for delivery again", "out_for_delivery"),
    ("Delivered", "delivered"),
)


class Parcels:
    """The parcels of one run. All ids follow from the run's name and a key, so that they can be asked for afterwards."""

    def __init__(self, run: str, now: datetime) -> None:
        self.prefix = f"CHECK{run.upper()}"
        self._now = now.astimezone(UTC).replace(microsecond=0)

    def identity(self, kind: str, key: str) -> str:
        """Return a UUID, as Ship24's ids are in practice."""
        return str(uuid5(_NAMESPACE, f"{self.prefix} {kind} {key}"))

    def tracker_id(self, tracker: str) -> str:
        """Return Ship24's key of a tracker."""
        return self.identity("tracker", tracker)

    def message_id(self, tracker: str, message: str = "1") -> str:
        """Return the identity of an item."""
        return self.identity("message", f"{tracker}/{message}")

    def number(self, tracker: str) -> str:
        """Return a tracking number: the prefix of the run and six digits."""
        return f"{self.prefix}{crc32(tracker.encode()) % 1_000_000:06}"

    def local(self, hours_ago: float) -> str:
        """Return a courier's wall clock, zone unknown."""
        return self._ago(hours_ago).strftime("%Y-%m-%dT%H:%M:%S")

    def offset(self, hours_ago: float) -> str:
        """Return a wall clock with its offset."""
        return self._ago(hours_ago).astimezone(_EAST).isoformat()

    def utc(self, hours_ago: float) -> str:
        """Return a time in UTC, local zone unknown."""
        return f"{self.local(hours_ago)}.000Z"

    def day(self, hours_ago: float) -> str:
        """Return a bare date."""
        return self.local(hours_ago)[:10]

    def event(self, tracker: str, name: str = "1", hours_ago: float = 24, **fields: Any) -> Item:
        """Return one event; `datetime` has the false Z that Ship24 still sends."""
        return {
            "eventId": self.identity("event", f"{tracker}/{name}"),
            "trackingNumber": self.number(tracker),
            "eventTrackingNumber": self.number(tracker),
            "status": f"At the sorting centre ({name})",
            "occurrenceDatetime": self.local(hours_ago),
            "datetime": f"{self.local(hours_ago)}.000Z",
            "hasNoTime": False,
            "utcOffset": None,
            "order": None,
            "location": "Lyon, FR",
            "sourceCode": "fr-post",
            "courierCode": "fr-post",
            "statusCode": None,
            "statusCategory": "transit",
            "statusMilestone": "in_transit",
            **fields,
        }

    def item(self, tracker: str, message: str = "1", events: Sequence[Any] | None = None, **fields: Any) -> Item:
        """Return one update; without events it has one."""
        return {
            "metadata": {**self._built(tracker, message), "topic": "tracking/events"},
            "tracker": self._names(tracker),
            "shipment": self.shipment(tracker),
            "events": [self.event(tracker)] if events is None else list(events),
            "statistics": {"timestamps": {"inTransitDatetime": self.local(24), "deliveredDatetime": None}},
            **fields,
        }

    def shipment(self, tracker: str, **fields: Any) -> Item:
        """Return the state of a shipment when its item was built."""
        return {
            "shipmentId": self.identity("shipment", tracker),
            "statusCode": None,
            "statusCategory": "transit",
            "statusMilestone": "in_transit",
            "originCountryCode": "SE",
            "destinationCountryCode": "FR",
            "delivery": {"estimatedDeliveryDate": None, "service": "Parcel to door", "signedBy": None},
            "trackingNumbers": [{"tn": self.number(tracker)}],
            "recipient": {"name": "Nobody", "address": "1 No Street", "postCode": "01180", "city": "Lyon", "subdivision": None},
            **fields,
        }

    def proof(self, tracker: str, message: str, data: Item) -> Item:
        """Return a proof of delivery: no shipment, no events, no statistics."""
        return {
            "metadata": {**self._built(tracker, message), "topic": "tracking/pod"},
            "tracker": self._names(tracker),
            "data": data,
        }

    def journey(self, tracker: str) -> list[Item]:
        """Return nine events, newest first."""
        events = [
            self.event(tracker, str(place), 10 - place, status=status, statusMilestone=milestone, order=place)
            for place, (status, milestone) in enumerate(JOURNEY, 1)
        ]
        return events[::-1]

    def _built(self, tracker: str, message: str) -> Item:
        return {"generatedAt": self.utc(0), "messageId": self.message_id(tracker, message)}

    def _names(self, tracker: str) -> Item:
        return {
            "trackerId": self.tracker_id(tracker),
            "trackingNumber": self.number(tracker),
            "clientTrackerId": None,
            "shipmentReference": None,
            "isSubscribed": True,
            "createdAt": self.utc(240),
        }

    def _ago(self, hours: float) -> datetime:
        return self._now - timedelta(hours=hours)


def body(*items: Any) -> bytes:
    """Return the body of one call."""
    return orjson.dumps({"trackings": items})
