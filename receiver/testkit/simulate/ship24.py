"""Journeys as messages of Ship24.

Source: Ship24 documentation, "Webhooks" (overview, specification, proof of delivery), and its OpenAPI files. Fields that may be
null or absent sometimes are.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from receiver.testkit.ship24 import make_event, make_message, make_proof, make_recipient, make_shipment
from receiver.testkit.simulate.journeys import IdGenerator, Journey, JourneyEvent, draw_journey
from receiver.testkit.simulate.records import ExpectedState, SentMessage, TrackerScript, write_item

_NINE = 9  # events in one message of an official example, newest first
_POD_KINDS = ("text/plain", "text/html", "application/pdf", "image/png", "image/jpeg")


class _Item(NamedTuple):
    """A message and all its events."""

    message: SentMessage
    events: tuple[JourneyEvent, ...] = ()


class Ship24:
    """Draws journeys and writes their messages."""

    def __init__(self, rng: Random, names: IdGenerator) -> None:
        self._rng = rng
        self._names = names

    def write(self, number: int, room: int) -> TrackerScript:
        """Return the script of the parcel with this number, in at most `room` messages."""
        journey = draw_journey(self._rng, self._names, number)
        items = list(self._write_journey(journey))[:room]
        times = Counter(event.id for item in items for event in item.events)
        messages = tuple(item.message._replace(in_others=_is_repeated_by_others(item, times)) for item in items)
        events = [event for event in journey.events if event.id in times]
        if not events:
            return TrackerScript(messages, None, None, None)
        last = events[-1]
        expected = ExpectedState("ship24", journey.tracker_id, *last.step[:2], last.time.text, last.id, frozenset(times))
        return TrackerScript(messages, expected, self._ask(journey, last, -1), self._ask(journey, last, 1))

    def _ask(self, journey: Journey, last: JourneyEvent, steps: int) -> SentMessage:
        """Return a new message with a new event, just newer (1) or just older (-1) than the last one."""
        return self._write_message(journey, (JourneyEvent(self._names.draw(), last.time.moved(steps), last.step),)).message

    def _write_journey(self, journey: Journey) -> Iterator[_Item]:
        rng = self._rng
        if rng.random() < 0.15:
            yield self._write_message(journey, ())
        left = list(journey.events)
        if len(left) > _NINE and (journey.number % 2 == 0 or rng.random() < 0.3):
            nine, left = left[:_NINE], left[_NINE:]
            yield self._write_message(journey, nine)
        while left:
            count = 2 if rng.random() < 0.15 else 1
            some, left = left[:count], left[count:]
            before = journey.events.index(some[0]) - 1
            known = [journey.events[before]] if before >= 0 and rng.random() < 0.15 else []
            yield self._write_message(journey, some, known)
        if journey.number % 2 or rng.random() < 0.2:
            yield self._prove(journey)

    def _write_message(self, journey: Journey, events: Sequence[JourneyEvent], known: Sequence[JourneyEvent] = ()) -> _Item:
        """Return a message with these events, newest first, and with `known` ones of earlier messages."""
        rng, newest = self._rng, events[-1] if events else None
        metadata = self._metadata(newest)
        if rng.random() < 0.8:
            metadata["topic"] = "tracking/events"  # otherwise absent, as in older bodies
        shipment = None if rng.random() < 0.1 else self._shipment(journey, newest)
        written = [self._event(journey, event) for event in (*reversed(events), *known)]
        item = make_message(metadata, self._tracker(journey), shipment, written)
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
        made = make_shipment(
            f"shipment-{journey.tracker_id}",
            journey.tracking_number,
            code=step.code if step else None,
            category=step.category if step else None,
            milestone=step.milestone if step else "pending",
            origin=None if rng.random() < 0.3 else "SE",
        )
        recipient = None if rng.random() < 0.5 else make_recipient("Aina Lindqvist")
        return {**made, "delivery": delivery, "recipient": recipient}

    def _event(self, journey: Journey, event: JourneyEvent) -> dict[str, Any]:
        step = event.step
        return make_event(
            event.id,
            journey.tracking_number,
            occurrence=event.time.text,
            clock=event.time.wall.isoformat(),
            order=event.time.order,
            **step._asdict(),
        )

    def _prove(self, journey: Journey) -> _Item:
        """Return a proof of delivery, which arrives at the same URL."""
        metadata = self._metadata(journey.events[-1])
        data: dict[str, Any] = {"status": "unavailable", "courier": "fr-post"}
        if self._rng.random() < 0.7:
            kind = self._rng.choice(_POD_KINDS)
            words = "Signed by A. Lindqvist" if kind.startswith("text/") else None
            content = {"type": kind, "text": words, "downloadUrl": None if words else "https://pod.invalid/proof"}
            data = {"status": "found", "courier": "fr-post", "content": content}
        item = make_proof(metadata, self._tracker(journey), data)
        return _Item(SentMessage(metadata["messageId"], "tracking", write_item(item)))


def _is_repeated_by_others(item: _Item, times: Counter[str]) -> bool:
    return bool(item.events) and all(times[event.id] > 1 for event in item.events)
