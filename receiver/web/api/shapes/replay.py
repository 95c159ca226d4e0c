"""What deciding a call again changes."""

from receiver.web.api.shapes.root import Outcome, Schema


class VerdictWords(Schema):
    """A verdict and why."""

    outcome: Outcome
    reason: str | None


class ReplayedItem(Schema):
    """One item of the call: its verdict on record before (null: it was never decided) and after."""

    position: int
    message_id: str | None
    before: VerdictWords | None
    after: VerdictWords


class TrackerStatusSchema(Schema):
    """Where a tracker stands."""

    status: str | None
    status_milestone: str | None
    latest_occurrence: str | None


class MovedTracker(Schema):
    """A tracker that is changed; `before` is null for one that was not known."""

    source: str
    tracker_id: str
    before: TrackerStatusSchema | None
    after: TrackerStatusSchema


class ReplayAnswer(Schema):
    """What deciding a call again changed, or with `dry_run` would change. `problem`: why its body still cannot be read."""

    delivery_id: str
    dry_run: bool
    force: bool
    changed: bool
    items: list[ReplayedItem]
    trackers: list[MovedTracker]
    problem: str | None
