"""What is planned: messages, the calls that carry them, and what has to be known of each tracker in the end."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import orjson

Kind = Literal["tracking", "new-package", "manifest-status"]
Phase = Literal["hello", "test", "traffic", "resend", "older", "newer"]


class SentMessage(NamedTuple):
    """One update: `id` is what our answers name it by, `item` its JSON.

    `echoed`: other messages tell all its events too, so that it may be called a duplicate the first time it comes.
    """

    id: str
    kind: Kind
    item: bytes
    echoed: bool = False


class ExpectedState(NamedTuple):
    """What a tracker must be once all its messages are in, in whatever order they came.

    `events` are the ids of all its events. Those of Shiipp are made by our rules.
    """

    source: str
    tracker_id: str
    status: str | None
    milestone: str | None
    occurrence: str
    event_id: str
    events: frozenset[str]


class TrackerScript(NamedTuple):
    """What is told of one tracker, in the order in which it is made, and two questions about the end.

    Each question is a new message, with an event just older or just newer than the truth. There is no truth of a tracker that no
    event was told of, and no question about what happens only once.
    """

    told: tuple[SentMessage, ...]
    expected: ExpectedState | None
    older: SentMessage | None
    newer: SentMessage | None


class PlannedMessage(NamedTuple):
    """An update and the place of its tracker among the plan's."""

    told: SentMessage
    tracker: int

    @property
    def id(self) -> str:
        """Return what our answers name it by."""
        return self.told.id


class PlannedTracker(NamedTuple):
    """A tracker's truth, and the numbers of the two messages that ask for it: one just older than it, one just newer."""

    expected: ExpectedState | None
    older: int | None
    newer: int | None


class PlannedDelivery(NamedTuple):
    """One call: `due_seconds` after its phase began, with the messages of these numbers."""

    phase: Phase
    number: int
    due_seconds: float
    messages: tuple[int, ...]


class TrafficShape(NamedTuple):
    """What the traffic is to be like: so many calls in all, so many a second, up to so many messages in one.

    `duplicates` is the share of calls that are copies, `reorder` the share of messages that come late, both in percent.
    """

    calls: int = 1000
    rate: float = 50.0
    group: int = 10
    duplicates: float = 10.0
    reorder: float = 20.0


class TrafficPlan(NamedTuple):
    """All that is sent. Calls name messages by their place in `messages`."""

    source: str
    trackers: tuple[PlannedTracker, ...]
    messages: tuple[PlannedMessage, ...]
    hello: PlannedDelivery
    test: PlannedDelivery
    traffic: tuple[PlannedDelivery, ...]
    resend: tuple[PlannedDelivery, ...]
    older: tuple[PlannedDelivery, ...]
    newer: tuple[PlannedDelivery, ...]

    def kind(self, call: PlannedDelivery) -> Kind:
        """Return what a call is about; all its messages are of one kind."""
        return self.messages[call.messages[0]].told.kind

    def body(self, call: PlannedDelivery) -> bytes:
        """Return the bytes of a call. Shiipp's root is an object or an array, as the administrator likes it."""
        items = b",".join(self.messages[number].told.item for number in call.messages)
        if self.source == "ship24":
            return b'{"trackings":[' + items + b"]}"
        return b"[" + items + b"]" if len(call.messages) > 1 or call.number % 2 else items


def write_item(item: Mapping[str, Any]) -> bytes:
    """Return an item's JSON, in no more room than it needs: the library's own bytes keep eight thousand of it."""
    return bytes(memoryview(orjson.dumps(item)))
