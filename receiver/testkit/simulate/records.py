"""Records of a plan: messages, their deliveries, and the expected state of each tracker."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import orjson

Kind = Literal["tracking", "new-package", "manifest-status"]
Phase = Literal["hello", "test", "traffic", "resend", "older", "newer"]


class SentMessage(NamedTuple):
    """One message: its `id` in responses of this service, and its JSON.

    `in_others`: other messages contain all its events, so it may be a duplicate the first time.
    """

    id: str
    kind: Kind
    item: bytes
    in_others: bool = False


class ExpectedState(NamedTuple):
    """The state of a tracker after all its messages, in whatever order they arrived.

    `events` are the IDs of all its events. Shiipp has none: this service makes them.
    """

    source: str
    tracker_id: str
    status: str | None
    milestone: str | None
    occurrence: str
    event_id: str
    events: frozenset[str]


class TrackerScript(NamedTuple):
    """The messages of one tracker, in the order in which they are made, its expected state, and two probes of it.

    A probe is a new message with an event just older or just newer than the latest one. A tracker without events has no
    expected state; one that can only have one event has no probes.
    """

    messages: tuple[SentMessage, ...]
    expected: ExpectedState | None
    older: SentMessage | None
    newer: SentMessage | None


class PlannedMessage(NamedTuple):
    """A message and the number of its tracker in the plan."""

    sent: SentMessage
    tracker: int

    @property
    def id(self) -> str:
        """Return its ID in responses of this service."""
        return self.sent.id


class PlannedTracker(NamedTuple):
    """The expected state of a tracker, and the numbers of its two probes: one just older, one just newer."""

    expected: ExpectedState | None
    older: int | None
    newer: int | None


class PlannedDelivery(NamedTuple):
    """One delivery, due `due_seconds` after its phase began, with the messages of these numbers."""

    phase: Phase
    number: int
    due_seconds: float
    messages: tuple[int, ...]


class TrafficShape(NamedTuple):
    """The shape of the traffic: deliveries in all, deliveries a second, maximum number of messages in one.

    `duplicates` is the share of deliveries that are copies, `reorder` the share of messages that are late, both in percent.
    """

    calls: int = 1000
    rate: float = 50.0
    group: int = 10
    duplicates: float = 10.0
    reorder: float = 20.0


class TrafficPlan(NamedTuple):
    """Everything that is sent. Deliveries name messages by their index in `messages`."""

    source: str
    trackers: tuple[PlannedTracker, ...]
    messages: tuple[PlannedMessage, ...]
    hello: PlannedDelivery
    test: PlannedDelivery
    traffic: tuple[PlannedDelivery, ...]
    resend: tuple[PlannedDelivery, ...]
    older: tuple[PlannedDelivery, ...]
    newer: tuple[PlannedDelivery, ...]

    def kind(self, delivery: PlannedDelivery) -> Kind:
        """Return the kind of a delivery, which is that of all its messages."""
        return self.messages[delivery.messages[0]].sent.kind

    def body(self, delivery: PlannedDelivery) -> bytes:
        """Return the body of a delivery. The root of Shiipp's is an object or an array, as its administrator chooses."""
        items = b",".join(self.messages[number].sent.item for number in delivery.messages)
        if self.source == "ship24":
            return b'{"trackings":[' + items + b"]}"
        return b"[" + items + b"]" if len(delivery.messages) > 1 or delivery.number % 2 else items


def write_item(item: Mapping[str, Any]) -> bytes:
    """Return the JSON of a message in as little memory as possible: bytes made by orjson keep eight thousand more."""
    return bytes(memoryview(orjson.dumps(item)))
