"""What consumers are told: a change, and who wants to be told of which. Pure."""

from typing import Any, NamedTuple

from receiver.clock import iso


class Change(NamedTuple):
    """A tracker moved to an event. There is exactly one for each applied event.

    `id` is stable and sorts by the time of the decision; a repeated delivery has the same id. `move` counts the changes of this
    tracker, from 1: within a tracker it is the order. `old_status` and `old_status_milestone` are what the event replaced (None:
    nothing was known). `occurrence` is the courier's time as written. `delivery_id` and `position` say in which call, and where
    in its body, the raw piece stands.
    """

    id: str
    move: int
    source: str
    tracker_id: str
    tracking_number: str | None
    client_tracker_id: str | None
    shipment_reference: str | None
    event_id: str
    message_id: str
    occurrence: str
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

    @property
    def milestone_changed(self) -> bool:
        """Tell whether the milestone is another than before."""
        return self.status_milestone != self.old_status_milestone

    def as_json(self) -> dict[str, Any]:
        """Return it for other programs."""
        return {**self._asdict(), "received_at": iso(self.received_at)}


class Subscription(NamedTuple):
    """Which changes a target wants: None means all. `milestones` are those that a tracker comes to."""

    target: str
    sources: frozenset[str] | None = None
    milestones: frozenset[str] | None = None
    milestone_changed: bool = False

    def wants(self, source: str, old_milestone: str | None, milestone: str | None) -> bool:
        """Tell whether a change is wanted."""
        return (
            (self.sources is None or source in self.sources)
            and (self.milestones is None or milestone in self.milestones)
            and (not self.milestone_changed or milestone != old_milestone)
        )
