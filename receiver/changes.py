"""What consumers are told: a change, and who wants to be told of which. Pure."""

from typing import Any, NamedTuple

from receiver.clock import iso


class Change(NamedTuple):
    """A tracker moved to an event: to a newer one, to a correction of it, or back because a newer one was taken back.

    `id` is a UUID made of source, tracker, event and content, and of what caused it where a tracker comes to an event again: it
    is the same after a repeat, a restore, a rebuild or a replay. `move` is the 1-based number of this change within its tracker
    in this database, and their order: it only grows, but a restored database may use numbers again; the id decides.
    `old_status` and `old_status_milestone` are what the event replaced (None:
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
