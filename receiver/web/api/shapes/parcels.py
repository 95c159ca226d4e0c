"""Trackers, their timelines, and messages."""

from typing import Any, Literal

from pydantic import Field

from receiver.web.api.shapes.root import CallOutcome, Moment, Outcome, Schema


class TrackerItem(Schema):
    """A tracker in a list: its names and its latest event."""

    source: str
    tracker_id: str
    subject: str = Field(description="what it stands for: `parcel`, `package` or `manifest`")
    tracking_number: str | None
    client_tracker_id: str | None
    shipment_reference: str | None
    created_at: Moment
    status: str | None
    status_code: str | None
    status_category: str | None
    status_milestone: str | None
    shipment_milestone: str | None = Field(description="the sender's own view of the whole, which may be another")
    milestone_differs: bool = Field(description="whether both milestones are known and differ")
    location: str | None
    latest_occurrence: str | None
    latest_order: int | None
    latest_event_id: str | None
    latest_message_id: str | None
    applied_at: Moment | None
    moves: int = Field(description="how many changes there were")


class LinkedManifest(Schema):
    """The manifest that a package travels with; all but its id are unknown until it calls."""

    tracker_id: str
    tracking_number: str | None = None
    status: str | None
    latest_occurrence: str | None = None
    applied_at: Moment | None = None


class TrackerSchema(TrackerItem):
    """A tracker whole."""

    shipment: dict[str, Any] | None
    manifest: LinkedManifest | None
    packages: list[str]


class EventItem(Schema):
    """An event in a timeline. `against` is the event that was the tracker's latest when this one was decided."""

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
    outcome: Outcome
    reason: str | None
    against: str | None
    received_at: Moment
    superseded: bool = Field(description="whether another version of the event stands: a sender corrected it")
    change_id: str | None = Field(description="of an applied event: the id of the change that it made")
    move: int | None = Field(description="1-based number of this change within its tracker, in this database")
    old_status: str | None
    old_status_milestone: str | None
    shipment_milestone: str | None = Field(description="of an applied event: the sender's own view at the change that it made")
    milestone_differs: bool = Field(description="whether both milestones are known and differ")


class TrackerAnswer(Schema):
    """A tracker and its timeline, newest occurrence first."""

    tracker: TrackerSchema
    events: list[EventItem]


class NewerEvent(Schema):
    """The event that an event lost against."""

    event_id: str
    message_id: str
    occurrence: str
    order: int | None
    status: str | None
    received_at: Moment


class MessageEvent(EventItem):
    """An event as a message told it; `known_from` is the message that had told a duplicate before."""

    against: NewerEvent | None  # type: ignore[assignment]
    known_from: str | None


class MessageDelivery(Schema):
    """The call that carried a message."""

    received_at: Moment | None
    client: str | None
    peer: str | None
    token: str | None
    note: str | None
    kind: str | None
    status: int | None
    outcome: CallOutcome | None


class MessageCopy(Schema):
    """One time that a message came."""

    delivery_id: str
    position: int
    outcome: Outcome
    reason: str | None
    call: MessageDelivery


class QuarantinedPart(Schema):
    """A message (`event_position` is null) or one of its events that was set apart."""

    id: str
    delivery_id: str
    position: int
    event_position: int | None
    reason: str
    detail: str | None
    received_at: Moment


class MessageAnswer(Schema):
    """What became of a message and why; `story` tells it in sentences. `received_at` to `position` are of its first call."""

    source: str
    message_id: str
    tracker_id: str | None
    tracking_number: str | None
    topic: str | None
    outcome: Outcome
    reason: str | None
    received_at: Moment
    delivery_id: str
    position: int
    against: NewerEvent | None
    events: list[MessageEvent]
    quarantined: list[QuarantinedPart]
    deliveries: list[MessageCopy]
    story: list[str]


class TrackerList(Schema):
    """A page of trackers."""

    items: list[TrackerItem]
    next: str | None
