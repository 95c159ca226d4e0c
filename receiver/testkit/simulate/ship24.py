"""Lives as Ship24's messages.

Source: Ship24 documentation, "Webhooks" (overview, specification, proof of delivery), and its OpenAPI files; what may be null or
absent is so at times.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from receiver.testkit.simulate.lives import Journey, JourneyEvent, Names, draw_journey
from receiver.testkit.simulate.records import ExpectedState, SentMessage, TrackerScript, write_item

_NINE = 9  # in one item of an official example, newest first
_RECIPIENT = {"name": "Aina Lindqvist", "address": "Fabriksgatan 7 B", "postCode": "01180", "city": "Turku", "subdivision": None}
_POD_KINDS = ("text/plain", "text/html", "application/pdf", "image/png", "image/jpeg")


class _Item(NamedTuple):
    """A message, and all events that it tells."""

    told: SentMessage
    events: tuple[JourneyEvent, ...] = ()


class Ship24:
    """Draws lives and writes them down."""

    def __init__(self, rng: Random, names: Names) -> None:
        self._rng = rng
        self._names = names

    def tell(self, number: int, room: int) -> TrackerScript:
        """Return what is told of the parcel with this number, in at most `room` messages."""
        journey = draw_journey(self._rng, self._names, number)
        items = list(self._tell(journey))[:room]
        times = Counter(event.id for item in items for event in item.events)
        told = tuple(item.told._replace(echoed=_is_echoed(item, times)) for item in items)
        happened = [event for event in journey.events if event.id in times]
        if not happened:
            return TrackerScript(told, None, None, None)
        last = happened[-1]
        expected = ExpectedState("ship24", journey.tracker_id, *last.step[:2], last.time.text, last.id, frozenset(times))
        return TrackerScript(told, expected, self._ask(journey, last, -1), self._ask(journey, last, 1))

    def _ask(self, journey: Journey, last: JourneyEvent, steps: int) -> SentMessage:
        """Return a new message with an event of its own, just newer (1) or just older (-1) than the last one."""
        return self._write(journey, (JourneyEvent(self._names.draw(), last.time.moved(steps), last.step),)).told

    def _tell(self, journey: Journey) -> Iterator[_Item]:
        rng = self._rng
        if rng.random() < 0.15:
            yield self._write(journey, ())
        left = list(journey.events)
        if len(left) > _NINE and (journey.number % 2 == 0 or rng.random() < 0.3):
            nine, left = left[:_NINE], left[_NINE:]
            yield self._write(journey, nine)
        while left:
            count = 2 if rng.random() < 0.15 else 1
            some, left = left[:count], left[count:]
            before = journey.events.index(some[0]) - 1
            known = [journey.events[before]] if before >= 0 and rng.random() < 0.15 else []
            yield self._write(journey, some, known)
        if journey.number % 2 or rng.random() < 0.2:
            yield self._prove(journey)

    def _write(self, journey: Journey, events: Sequence[JourneyEvent], known: Sequence[JourneyEvent] = ()) -> _Item:
        """Write an item: its events stand newest first, those that are known already too."""
        rng, newest = self._rng, events[-1] if events else None
        metadata = self._metadata(newest)
        if rng.random() < 0.8:
            metadata["topic"] = "tracking/events"  # else it is absent, as in older bodies
        item: dict[str, Any] = {"metadata": metadata, "tracker": self._tracker(journey)}
        item["shipment"] = None if rng.random() < 0.1 else self._shipment(journey, newest)
        item["events"] = [self._event(journey, event) for event in (*reversed(events), *known)]
        item["statistics"] = {"timestamps": {"infoReceivedDatetime": None, "deliveredDatetime": None}}
        return _Item(SentMessage(metadata["messageId"], "tracking", write_item(item)), (*events, *known))

    def _metadata(self, newest: JourneyEvent | None) -> dict[str, Any]:
        day = newest.time.wall.date().isoformat() if newest else "2025-03-03"
        millis = self._rng.randrange(86_400_000)
        clock = f"{millis // 3_600_000:02}:{millis // 60_000 % 60:02}:{millis // 1000 % 60:02}.{millis % 1000:03}"
        return {"generatedAt": f"{day}T{clock}Z", "messageId": self._names.draw()}

    def _tracker(self, journey: Journey) -> dict[str, Any]:
        tracker: dict[str, Any] = {"trackerId": journey.tracker_id, "trackingNumber": journey.tracking_number}
        if journey.number % 3:
            tracker |= {
                "clientTrackerId": f"order-{journey.number}" if journey.number % 3 == 1 else None,
                "shipmentReference": None,
            }
        return tracker | {"isSubscribed": True, "createdAt": "2025-03-01T06:00:00.000Z"}

    def _shipment(self, journey: Journey, newest: JourneyEvent | None) -> dict[str, Any]:
        rng, step = self._rng, newest.step if newest else None
        delivery: dict[str, Any] = {"estimatedDeliveryDate": None, "service": None, "signedBy": None}
        if rng.random() < 0.3:
            delivery |= {
                "estimatedDeliveryDate": "2025-04-01",
                "courierEstimatedDeliveryDate": {"from": "2025-04-01", "to": None},
            }
        return {
            "shipmentId": f"shipment-{journey.tracker_id}",
            "statusCode": step.code if step else None,
            "statusCategory": step.category if step else None,
            "statusMilestone": step.milestone if step else "pending",
            "originCountryCode": None if rng.random() < 0.3 else "FR",
            "destinationCountryCode": "FI",
            "delivery": delivery,
            "trackingNumbers": [{"tn": journey.tracking_number}],
            "recipient": None if rng.random() < 0.5 else _RECIPIENT,
        }

    def _event(self, journey: Journey, event: JourneyEvent) -> dict[str, Any]:
        step = event.step
        return {
            "eventId": event.id,
            "trackingNumber": journey.tracking_number,
            "eventTrackingNumber": journey.tracking_number,
            "status": step.status,
            "occurrenceDatetime": event.time.text,
            "order": event.time.order,
            "datetime": f"{event.time.wall.isoformat()}.000Z",  # deprecated, and its Z is false: who reads it is found out
            "hasNoTime": len(event.time.text) == 10,
            "utcOffset": None,
            "location": step.location,
            "sourceCode": "fr-post",
            "courierCode": "fr-post",
            "statusCode": step.code,
            "statusCategory": step.category,
            "statusMilestone": step.milestone,
        }

    def _prove(self, journey: Journey) -> _Item:
        """Write a proof of delivery: it may share the URL, and has no shipment, events or statistics."""
        metadata = self._metadata(journey.events[-1]) | {"topic": "tracking/pod"}
        data: dict[str, Any] = {"status": "unavailable", "courier": "fr-post"}
        if self._rng.random() < 0.7:
            kind = self._rng.choice(_POD_KINDS)
            words = "Signed by A. Lindqvist" if kind.startswith("text/") else None
            content = {"type": kind, "text": words, "downloadUrl": None if words else "https://pod.invalid/proof"}
            data = {"status": "found", "courier": "fr-post", "content": content}
        item = {"metadata": metadata, "tracker": self._tracker(journey), "data": data}
        return _Item(SentMessage(metadata["messageId"], "tracking", write_item(item)))


def _is_echoed(item: _Item, times: Counter[str]) -> bool:
    return bool(item.events) and all(times[event.id] > 1 for event in item.events)
