"""Changes that are delivered to targets, and which target wants which of them. Pure."""

from typing import Any, NamedTuple

import orjson

from receiver.clock import iso

SHIPMENT_MOVE_OFFSET = 1 << 30
"""The stored number of a change of a sender's own milestone has this added, so that it cannot equal that of another change."""

BASES = ("events", "shipment")
"""The kinds of changes: a tracker moved to another event, or the sender's own milestone of the shipment changed."""


TEST_SOURCE = "test"
"""The source of a test change, which no tracker has."""

TEST_HEADER = "receiver-test"
"""The header of a test change."""


class Change(NamedTuple):
    """A change of a tracker, or a test change, which an operator sends to try a target (`is_test`).

    With the `basis` `events` the tracker moved to another event: to a newer one, to a revision of the latest one, or back to an
    older one because a revision changed the time of the latest one. With the `basis` `shipment` the sender's own milestone of
    the shipment changed.

    `id` is a UUID made of source, tracker, event and content, and of the cause if a tracker moves to an event again. It is
    the same after a repeat, a restore, a rebuild or a replay.
    `sequence` is the 1-based number of this change within its tracker and basis, and gives their order. It only grows, but a
    restored database may use numbers again: `id` identifies a change.
    `old_status` and `old_status_milestone` are those before the change (None: none was known).
    `occurrence` is the courier's time as written.
    `delivery_id` and `position` (0-based) name the delivery and the item in its body that made the change.
    `shipment_milestone` is the sender's own milestone after the message that made the change (None: unknown, or version 0.1
    made the change). With the basis `shipment`, `old_shipment_milestone` is the one before, and `event_id` to `location` are
    those of the tracker's latest event (None: there was none).
    """

    id: str
    sequence: int
    source: str
    tracker_id: str
    tracking_number: str | None
    client_tracker_id: str | None
    shipment_reference: str | None
    event_id: str | None
    message_id: str
    occurrence: str | None
    old_status: str | None
    old_status_milestone: str | None
    status: str | None
    status_code: str | None
    status_category: str | None
    status_milestone: str | None
    location: str | None
    received_at: int
    delivery_id: str
    position: int
    basis: str = "events"
    old_shipment_milestone: str | None = None
    shipment_milestone: str | None = None

    @property
    def stored_key(self) -> tuple[str, str, int]:
        """The key of the change in storage: source, tracker and number (`move`)."""
        return self.source, self.tracker_id, self.sequence + (SHIPMENT_MOVE_OFFSET if self.basis == "shipment" else 0)

    @property
    def is_test(self) -> bool:
        """Tell whether it is a test change: it is about no tracker."""
        return self.source == TEST_SOURCE

    @property
    def milestone_differs(self) -> bool:
        """Tell whether the sender's own milestone is known and differs from that of the tracker's latest event."""
        views = (self.status_milestone, self.shipment_milestone)
        return None not in views and views[0] != views[1]

    @property
    def milestone_changed(self) -> bool:
        """Tell whether the change is to another milestone than before."""
        if self.basis == "shipment":
            return self.shipment_milestone != self.old_shipment_milestone
        return self.status_milestone != self.old_status_milestone

    def as_json(self) -> dict[str, Any]:
        """Return the payload for targets."""
        marked = {"test": True} if self.is_test else {}
        return {**self._asdict(), "milestone_differs": self.milestone_differs, "received_at": iso(self.received_at), **marked}

    def write_body(self) -> bytes:
        """Return what targets get over HTTP and NATS: JSON with `type`, `timestamp` (when the delivery was received) and `data`.

        The bytes are the same at every attempt. The type of a test change is `target.test`.
        """
        kind = "target.test" if self.is_test else "tracker.changed"
        return orjson.dumps({"type": kind, "timestamp": iso(self.received_at), "data": self.as_json()})


def make_test_change(change_id: str, now: int) -> Change:
    """Return a test change. Its texts say so, for code that looks at nothing else."""
    return Change(
        id=change_id,
        sequence=1,
        source=TEST_SOURCE,
        tracker_id="test",
        tracking_number="TEST",
        client_tracker_id=None,
        shipment_reference=None,
        event_id=None,
        message_id="test",
        occurrence=iso(now),
        old_status=None,
        old_status_milestone=None,
        status="Test change: this is about no parcel.",
        status_code=None,
        status_category=None,
        status_milestone=None,
        location=None,
        received_at=now,
        delivery_id="test",
        position=0,
    )


class TargetTestResult(NamedTuple):
    """The result of a test change: whether the target took it, the status of its answer (None: it has none), and a text."""

    delivered: bool
    status: int | None
    answer: str


class Subscription(NamedTuple):
    """The changes that a target wants. None means all; `milestones` are those after the change.

    With the `basis` `shipment` these conditions are about the sender's own milestone, otherwise (`events`) about the latest
    event.
    """

    target: str
    sources: frozenset[str] | None = None
    milestones: frozenset[str] | None = None
    milestone_changed: bool = False
    basis: str = "events"

    def wants(self, source: str, old_milestone: str | None, milestone: str | None) -> bool:
        """Tell whether the target wants a change."""
        return (
            (self.sources is None or source in self.sources)
            and (self.milestones is None or milestone in self.milestones)
            and (not self.milestone_changed or milestone != old_milestone)
        )
