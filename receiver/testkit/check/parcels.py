"""Bodies of parcels that do not exist. Every run has its own IDs, so it can be repeated on any receiver."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid5
from zlib import crc32

import orjson

from receiver.testkit.ship24 import Item, make_event, make_message, make_proof, make_recipient, make_shipment

_NAMESPACE = UUID("9d3c3e1e-6f0b-5b8a-9f57-2f0c6a6b1d10")
_EAST = timezone(timedelta(hours=2))

JOURNEY = (  # oldest first; milestones also go back, as in reality
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
    """The parcels of one run. All IDs follow from the name of the run and a key, so end states can be read afterwards.

    They contain the eight hexadecimal digits of the run, which marks of tests demand.
    """

    def __init__(self, run: str, now: datetime) -> None:
        self.run = run
        self.prefix = f"CHECK{run.upper()}"
        self._now = now.astimezone(UTC).replace(microsecond=0)

    def identity(self, kind: str, key: str) -> str:
        """Return an ID in the form of a UUID, as Ship24's are in practice. It begins with the run."""
        return self.run + str(uuid5(_NAMESPACE, f"{self.prefix} {kind} {key}"))[len(self.run) :]

    def tracker_id(self, tracker: str) -> str:
        """Return the `trackerId` of a tracker."""
        return self.identity("tracker", tracker)

    def message_id(self, tracker: str, message: str = "1") -> str:
        """Return the `messageId` of a message."""
        return self.identity("message", f"{tracker}/{message}")

    def number(self, tracker: str) -> str:
        """Return a tracking number: the prefix of the run and six digits."""
        return f"{self.prefix}{crc32(tracker.encode()) % 1_000_000:06}"

    def local(self, hours_ago: float) -> str:
        """Return a time without a zone."""
        return self._ago(hours_ago).strftime("%Y-%m-%dT%H:%M:%S")

    def offset(self, hours_ago: float) -> str:
        """Return a time with an offset."""
        return self._ago(hours_ago).astimezone(_EAST).isoformat()

    def utc(self, hours_ago: float) -> str:
        """Return a time in UTC."""
        return f"{self.local(hours_ago)}.000Z"

    def day(self, hours_ago: float) -> str:
        """Return a bare date."""
        return self.local(hours_ago)[:10]

    def event(self, tracker: str, name: str = "1", hours_ago: float = 24, **fields: Any) -> Item:
        """Return one event of a tracker."""
        made = make_event(
            self.identity("event", f"{tracker}/{name}"),
            self.number(tracker),
            occurrence=self.local(hours_ago),
            clock=self.local(hours_ago),
            status=f"At the sorting centre ({name})",
        )
        return {**made, **fields}

    def item(self, tracker: str, message: str = "1", events: Sequence[Any] | None = None, **fields: Any) -> Item:
        """Return one message of a tracker; without `events` it has one event."""
        metadata = {**self._metadata(tracker, message), "topic": "tracking/events"}
        made = make_message(
            metadata, self._names(tracker), self.shipment(tracker), [self.event(tracker)] if events is None else events
        )
        return {**made, **fields}

    def shipment(self, tracker: str, **fields: Any) -> Item:
        """Return the shipment block of a tracker."""
        shipment_id = self.identity("shipment", tracker)
        return {**make_shipment(shipment_id, self.number(tracker)), "recipient": make_recipient("Nobody"), **fields}

    def proof(self, tracker: str, message: str, data: Item) -> Item:
        """Return a proof of delivery."""
        return make_proof(self._metadata(tracker, message), self._names(tracker), data)

    def journey(self, tracker: str) -> list[Item]:
        """Return nine events, newest first."""
        events = [
            self.event(tracker, str(step), 10 - step, status=status, statusMilestone=milestone, order=step)
            for step, (status, milestone) in enumerate(JOURNEY, 1)
        ]
        return events[::-1]

    def _metadata(self, tracker: str, message: str) -> Item:
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
    """Return the body of one delivery."""
    return orjson.dumps({"trackings": items})
