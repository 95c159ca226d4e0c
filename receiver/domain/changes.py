"""What consumers are told: a change, and who wants to be told of which. Pure."""

from typing import Any, NamedTuple

from receiver.clock import iso

SHIPMENT_MOVES = 1 << 30
"""Changes of senders' own milestones are stored under their number and this: beside those of events that have the same number."""

BASES = ("events", "shipment")
"""What a change may be: a tracker moved to an event, or the sender's own milestone of the shipment changed."""


class Change(NamedTuple):
    """A tracker moved to an event: to a newer one, to a correction of it, or back because a newer one was taken back. Or, where
    `basis` is `shipment`: the sender's own milestone of the shipment changed.

    `id` is a UUID made of source, tracker, event and content, and of what caused it where a tracker comes to an event again: it
    is the same after a repeat, a restore, a rebuild or a replay. `sequence` is the 1-based number of this change within its
    tracker in this database, and their order: it only grows, but a restored database may use numbers again; the id decides.
    `old_status` and `old_status_milestone` are what the event replaced (None:
    nothing was known). `occurrence` is the courier's time as written. `delivery_id` and `position` say in which call, and where
    in its body, the raw piece stands. `shipment_milestone` is the sender's own view after the message that made the
    change (None: not known, or the change is of version 0.1). With the basis `shipment`, `old_shipment_milestone` is what it
    replaced, `event_id` to `location` are of the tracker's latest event (None: there was none), and `sequence` numbers the
    changes of this basis.
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
    def place(self) -> tuple[str, str, int]:
        """Source, tracker and number under which it is stored."""
        return self.source, self.tracker_id, self.sequence + (SHIPMENT_MOVES if self.basis == "shipment" else 0)

    @property
    def milestone_differs(self) -> bool:
        """Tell whether the sender's own milestone is known, and another than that of the tracker's latest event."""
        views = (self.status_milestone, self.shipment_milestone)
        return None not in views and views[0] != views[1]

    @property
    def milestone_changed(self) -> bool:
        """Tell whether the milestone that the change is about is another than before."""
        if self.basis == "shipment":
            return self.shipment_milestone != self.old_shipment_milestone
        return self.status_milestone != self.old_status_milestone

    def as_json(self) -> dict[str, Any]:
        """Return it for other programs."""
        return {**self._asdict(), "milestone_differs": self.milestone_differs, "received_at": iso(self.received_at)}


class Subscription(NamedTuple):
    """Which changes a target wants: None means all. `milestones` are those that a tracker comes to.

    `basis` is `events`, or `shipment`: then all is about the sender's own milestone.
    """

    target: str
    sources: frozenset[str] | None = None
    milestones: frozenset[str] | None = None
    milestone_changed: bool = False
    basis: str = "events"

    def wants(self, source: str, old_milestone: str | None, milestone: str | None) -> bool:
        """Tell whether a change is wanted."""
        return (
            (self.sources is None or source in self.sources)
            and (self.milestones is None or milestone in self.milestones)
            and (not self.milestone_changed or milestone != old_milestone)
        )
