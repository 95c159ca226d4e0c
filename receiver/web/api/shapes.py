"""The shapes of what the API answers; they are checked against what it really answers in the tests.

Moments are ISO 8601 UTC with milliseconds; `occurrence` and `latest_occurrence` are the courier's text as written.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Outcome = Literal["applied", "stale", "duplicate", "recorded", "quarantined"]
CallOutcome = Literal["accepted", "refused", "unreadable", "failed"]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Shape(BaseModel):
    """The root: an answer has exactly the fields that its shape names."""

    model_config = ConfigDict(extra="forbid")


class TrackerItem(Shape):
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
    location: str | None
    latest_occurrence: str | None
    latest_order: int | None
    latest_event_id: str | None
    latest_message_id: str | None
    applied_at: Moment | None


class LinkedManifest(Shape):
    """The manifest that a package travels with; all but its id are unknown until it calls."""

    tracker_id: str
    tracking_number: str | None = None
    status: str | None
    latest_occurrence: str | None = None
    applied_at: Moment | None = None


class Tracker(TrackerItem):
    """A tracker whole."""

    shipment: dict[str, Any] | None
    manifest: LinkedManifest | None
    packages: list[str]


class EventItem(Shape):
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


class TrackerAnswer(Shape):
    """A tracker and its timeline, newest occurrence first."""

    tracker: Tracker
    events: list[EventItem]


class Rival(Shape):
    """The event that an event lost against."""

    event_id: str
    message_id: str
    occurrence: str
    order: int | None
    status: str | None
    received_at: Moment


class MessageEvent(EventItem):
    """An event as a message told it; `known_from` is the message that had told a duplicate before."""

    against: Rival | None  # type: ignore[assignment]
    known_from: str | None


class Call(Shape):
    """The call that carried a message."""

    received_at: Moment | None
    client: str | None
    peer: str | None
    token: str | None
    note: str | None
    kind: str | None
    status: int | None
    outcome: CallOutcome | None


class Carried(Shape):
    """One time that a message came."""

    delivery_id: str
    position: int
    outcome: Outcome
    reason: str | None
    call: Call


class QuarantinedPart(Shape):
    """A message (`event_position` is null) or one of its events that was set apart."""

    id: str
    delivery_id: str
    position: int
    event_position: int | None
    reason: str
    detail: str | None
    received_at: Moment


class MessageAnswer(Shape):
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
    against: Rival | None
    events: list[MessageEvent]
    quarantined: list[QuarantinedPart]
    deliveries: list[Carried]
    story: list[str]


class DeliveryItem(Shape):
    """A call in a list: who, what, our answer; the last six are numbers of messages."""

    id: str
    source: str
    kind: str
    method: str
    path: str
    received_at: Moment
    decided_at: Moment
    peer: str | None
    client: str | None
    token: str | None
    note: str | None
    status: int
    outcome: CallOutcome
    code: str | None
    reason: str | None
    body_bytes: int
    received: int
    applied: int
    stale: int
    duplicate: int
    recorded: int
    quarantined: int


class ItemVerdict(Shape):
    """What became of one item of a call."""

    position: int
    message_id: str | None
    tracker_id: str | None
    outcome: Outcome
    reason: str | None


class DeliveryAnswer(DeliveryItem):
    """A call whole. `body` is its exact text, `body_base64` its bytes where they are not UTF-8; both null once pruned."""

    headers: list[tuple[str, str]]
    body: str | None
    body_base64: str | None
    answer: dict[str, Any] | None
    messages: list[ItemVerdict]
    story: list[str]


class QuarantineItem(QuarantinedPart):
    """Something set apart, with the beginning of its content."""

    source: str
    message_id: str | None
    tracker_id: str | None
    raw: str
    raw_bytes: int


class Lag(Shape):
    """How long after their occurrence events arrived, from a sample of the last ones; times without a zone count as UTC."""

    events: int
    p50_seconds: float | None
    p90_seconds: float | None
    p99_seconds: float | None


class SourceStatistics(Shape):
    """What one source sent in the window. `unrecorded` are calls that were only counted."""

    calls: int
    unrecorded: int
    received: int
    applied: int
    stale: int
    duplicate: int
    recorded: int
    quarantined: int
    outcomes: dict[CallOutcome, int]
    codes: dict[str, int]
    calls_per_second: float
    last_call_at: Moment | None
    lag: Lag


class StatisticsAnswer(Shape):
    """Counts by source and outcome, and sizes; `rows` are estimates."""

    window: str
    since: Moment
    until: Moment
    sources: dict[str, SourceStatistics]
    database_bytes: int
    rows: dict[str, int]


class AlarmItem(Shape):
    """Something that is, or was, wrong; `ended_at` is null while it is."""

    name: str
    subject: str
    began_at: Moment
    ended_at: Moment | None
    message: str


class AuditItem(Shape):
    """Something that an operator changed."""

    id: str
    done_at: Moment
    actor: str
    address: str | None
    action: str
    subject: str
    detail: str | None


class Trackers(Shape):
    """A page of trackers."""

    items: list[TrackerItem]
    next: str | None


class Deliveries(Shape):
    """A page of calls."""

    items: list[DeliveryItem]
    next: str | None


class Quarantine(Shape):
    """A page of what was set apart."""

    items: list[QuarantineItem]
    next: str | None


class Alarms(Shape):
    """All alarms that ever began."""

    items: list[AlarmItem]
    next: None


class Audit(Shape):
    """A page of what operators changed."""

    items: list[AuditItem]
    next: str | None


class WindowAnswer(Shape):
    """Until when a source may call from any address."""

    source: str
    closes_at: Moment


class CustomersAnswer(Shape):
    """How many customers are served from now on."""

    customers: int


class ErrorWords(Shape):
    """What was wrong, and what was expected."""

    code: str
    message: str


class ErrorAnswer(Shape):
    """Every error."""

    error: ErrorWords
    delivery_id: str | None = None
