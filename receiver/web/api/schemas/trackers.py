"""Trackers, their timelines, and messages."""

from typing import Any, Literal

from pydantic import Field

from receiver.domain.imports import Origin
from receiver.domain.verdicts import DeliveryOutcome, MessageOutcome
from receiver.web.api.schemas.root import Moment, Schema


class LinkedManifest(Schema):
    """The manifest of a package. Everything but its id is null until a delivery about it arrives."""

    tracker_id: str
    tracking_number: str | None
    status: str | None
    status_milestone: str | None
    latest_occurrence: str | None
    applied_at: Moment | None


class PersonItem(Schema):
    """A tracker that mentions a person, and the fields that do, at most five: their path and their text."""

    source: str
    tracker_id: str
    found: dict[str, str]


class TrackerItem(Schema):
    """A tracker in a list: its identifiers and its latest event."""

    source: str
    tracker_id: str
    subject: str = Field(description="`parcel`, `package` or `manifest`")
    tracking_number: str | None
    client_tracker_id: str | None
    shipment_reference: str | None
    created_at: Moment
    status: str | None
    status_code: str | None
    status_category: str | None
    status_milestone: str | None
    shipment_milestone: str | None = Field(description="the sender's own view of the shipment, which may differ")
    milestone_differs: bool = Field(description="whether both milestones are known and differ")
    location: str | None
    latest_occurrence: str | None
    latest_order: int | None
    latest_event_id: str | None
    latest_message_id: str | None
    applied_at: Moment | None
    changes: int = Field(description="number of changes")
    test_run: str | None = Field(description="the run of the test that made it; null: it is a real tracker")
    manifest: LinkedManifest | None = Field(description="where the package is; null: it is in no manifest")


class PackageState(Schema):
    """The number of packages of a manifest at one milestone; null: they have no event so far."""

    status_milestone: str | None
    packages: int


class TrackerSchema(TrackerItem):
    """A whole tracker."""

    shipment: dict[str, Any] | None
    packages: list[str] = Field(
        description="of a manifest: the ids of its packages, at most 1000; all: `GET /trackers?manifest=`"
    )
    package_states: list[PackageState] = Field(description="of a manifest: how many of its packages are at each milestone")


class EventItem(Schema):
    """An event in a timeline. `against` is the event that was the latest one when this event was decided."""

    source: str
    tracker_id: str
    event_id: str
    message_id: str
    occurrence: str
    basis: Literal["courier", "arrival"]
    order: int | None
    status: str | None
    status_code: str | None
    status_category: str | None
    status_milestone: str | None
    location: str | None
    courier_code: str | None
    outcome: MessageOutcome
    reason: str | None
    against: str | None
    received_at: Moment
    superseded: bool = Field(description="whether a revision of the event, a correction by the sender, has replaced it")
    change_id: str | None = Field(description="for an applied event: the id of its change")
    sequence: int | None = Field(description="1-based number of this change within its tracker, in this database")
    old_status: str | None
    old_status_milestone: str | None
    shipment_milestone: str | None = Field(description="for an applied event: the sender's own view at its change")
    milestone_differs: bool = Field(description="whether both milestones are known and differ")


class DeliveryState(Schema):
    """The state of a change for one target.

    `waiting`: it was not attempted yet. `failing`: the last attempt failed, and it is retried. `dead`: it failed and is not
    retried automatically. `not_wanted`: the filter of the target leaves it out, or the tracker is one of a test. `unknown`: there
    is no record (RECEIVER_DELIVERED_RETENTION_DAYS), or the target came after the change.
    """

    target: str
    state: Literal["delivered", "waiting", "failing", "dead", "not_wanted", "unknown"]
    attempts: int | None = Field(description="with a result")
    delivered_at: Moment | None
    status: int | None = Field(description="HTTP status of the answer to a delivered change")
    died_at: Moment | None = Field(description="for a dead change: when it failed")
    last_error: str | None
    next_attempt_at: Moment | None = Field(
        description="null while an attempt is under way, and with `held_by`; in the past if the target fails and gets few changes"
    )
    held_by: Literal["paused", "stopped", "earlier_change"] | None = Field(
        description="why a waiting or failing change is not attempted: the target is paused or stopped, or an earlier one waits"
    )


class TargetChangeItem(DeliveryState):
    """A change in a list, and its state for one target."""

    source: str
    tracker_id: str
    tracking_number: str | None
    basis: Literal["events", "shipment"]
    sequence: int
    queued_at: Moment | None = Field(description="for a waiting or failing change: since when it waits")


class ChangeItem(Schema):
    """A change of a tracker, and its state for each target. The payload of targets has the same `id` and `sequence`."""

    change_id: str
    basis: Literal["events", "shipment"]
    sequence: int
    event_id: str | None
    status: str | None
    created_at: Moment
    targets: list[DeliveryState]


class EventVersionItem(Schema):
    """A version of a corrected event. The version with the latest `generated_at` counts, then that of the largest message id."""

    message_id: str = Field(description="the latest message with this content")
    generated_at: Moment | None = Field(description="when the sender built the message, or when it arrived; null: not known")
    received_at: Moment
    occurrence: str
    status: str | None
    superseded: bool


class TimelineEvent(EventItem):
    """An event of a tracker. If it was corrected: its `versions`, the current one first, and in `correction` why that counts."""

    versions: list[EventVersionItem]
    correction: str | None


class TrackerAnswer(Schema):
    """A tracker, its timeline, newest occurrence first, and its changes, newest first, at most 200."""

    tracker: TrackerSchema
    events: list[TimelineEvent]
    changes: list[ChangeItem]


class NewerEvent(Schema):
    """The newer event that an event was compared with."""

    event_id: str
    message_id: str
    occurrence: str
    order: int | None
    status: str | None
    received_at: Moment


class MessageEvent(EventItem):
    """An event of a message. For a duplicate, `known_from` is the message that brought the event first."""

    against: NewerEvent | None  # type: ignore[assignment]
    known_from: str | None


class MessageDelivery(Schema):
    """The delivery that contained a message."""

    received_at: Moment | None
    client: str | None
    peer: str | None
    token: str | None
    note: str | None
    kind: str | None
    status: int | None
    outcome: DeliveryOutcome | None
    origin: Origin | None
    sent_at: Moment | None = Field(description="when the body was first sent, if an import says so")


class MessageCopy(Schema):
    """One arrival of a message."""

    delivery_id: str
    position: int
    outcome: MessageOutcome
    reason: str | None
    delivery: MessageDelivery


class QuarantinedPart(Schema):
    """A message in quarantine, or one of its events. `event_position` is null for a message.

    `state` is `resolved` if the sender sent a corrected copy, `dismissed` if an operator closed it.
    """

    id: str
    delivery_id: str
    position: int
    event_position: int | None
    reason: str
    detail: str | None
    received_at: Moment
    state: Literal["open", "dismissed", "resolved"]
    closed_at: Moment | None
    closed_by: str | None = Field(description="who dismissed it")
    note: str | None = Field(description="why it was dismissed")
    advice: str = Field(description="what the reason means, and what to do")


class MessageItem(Schema):
    """One arrival of a message, with its verdict. The tracker is that of its first arrival, null if none is known."""

    source: str
    message_id: str | None
    outcome: MessageOutcome
    reason: str | None
    delivery_id: str
    position: int
    received_at: Moment
    tracker_id: str | None
    tracking_number: str | None
    test_run: str | None = Field(description="the run of the test that sent it; null: it is a real message")
    origin: Origin = Field(description="how the delivery came")


class MessageAnswer(Schema):
    """The verdict on a message; `explanation` gives the reasons. `received_at` to `position` are of its first arrival."""

    source: str
    message_id: str
    tracker_id: str | None
    tracking_number: str | None
    topic: str | None
    outcome: MessageOutcome
    reason: str | None
    received_at: Moment
    delivery_id: str
    position: int
    against: NewerEvent | None
    events: list[MessageEvent]
    quarantined: list[QuarantinedPart]
    deliveries: list[MessageCopy]
    explanation: list[str]
