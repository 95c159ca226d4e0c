"""Statistics, alarms, audit entries and targets."""

from typing import Literal

from pydantic import Field

from receiver.domain.verdicts import DeliveryOutcome
from receiver.web.api.schemas.root import Moment, Schema


class Lag(Schema):
    """The delay between occurrence and arrival, from a sample of recent events. Times without a zone count as UTC."""

    events: int
    p50_seconds: float | None
    p90_seconds: float | None
    p99_seconds: float | None


class SourceStatistics(Schema):
    """The traffic of one source in the window. `unrecorded` deliveries were counted but not stored."""

    deliveries: int
    unrecorded: int
    received: int
    applied: int
    stale: int
    duplicate: int
    recorded: int
    quarantined: int
    outcomes: dict[DeliveryOutcome, int]
    codes: dict[str, int]
    deliveries_per_second: float
    last_delivery_at: Moment | None
    lag: Lag


class RefusalCount(Schema):
    """Rejected deliveries of a source with one code and cause. `share` is their part of all deliveries of the source.

    `cause` is that of a 401, and null for other codes and for deliveries that were only counted. `detail`, `latest_at` and
    `latest_id` are of the latest one. `advice` says what to do.
    """

    source: str
    code: str
    cause: str | None
    detail: str | None
    advice: str | None
    deliveries: int
    share: float
    latest_at: Moment | None
    latest_id: str | None


class UnknownPathItem(Schema):
    """POSTs to a path that does not exist, and the right path that it resembles; both null for all that resemble none.

    `requests` are all since `first_at`.
    """

    path: str | None
    nearest: str | None
    requests: int
    first_at: Moment
    last_at: Moment


class StatisticsAnswer(Schema):
    """Counts by source and outcome, rejected deliveries by cause, and sizes. `rows` are estimates."""

    window: str
    since: Moment
    until: Moment
    sources: dict[str, SourceStatistics]
    refusals: list[RefusalCount]
    unknown_paths: list[UnknownPathItem]
    database_bytes: int
    rows: dict[str, int]


class ConcernItem(Schema):
    """Something that needs attention.

    `kind` and `subject` are the name and the subject of the alarm for the same thing, if there is one. `text` says what to do;
    the time `at`, if there is one, ends it. `codes` are the error codes of rejected deliveries.
    """

    weight: Literal["alarm", "warning", "note"]
    kind: str
    subject: str
    title: str
    text: str
    at: Moment | None
    codes: list[str]


class OverviewAnswer(Schema):
    """The concerns, the worst first, from the last 24 hours. `status` is the weight of the worst one, or `ok` without any."""

    status: Literal["ok", "note", "warning", "alarm"]
    concerns: list[ConcernItem]


class AlarmItem(Schema):
    """An alarm. `ended_at` is null while it is on."""

    name: str
    subject: str
    began_at: Moment
    ended_at: Moment | None
    message: str


class AuditItem(Schema):
    """One change by an operator."""

    id: str
    done_at: Moment
    actor: str
    address: str | None
    action: str
    subject: str
    detail: str | None


class TargetItem(Schema):
    """A target and its changes.

    `kind` is null for a target that the settings no longer name. `sources` and `milestones` filter its changes; null means all.
    `waiting` and `dead` are exact up to 10,000; more are shown as 10,000 and capped. `oldest_due_at` is the time when the oldest
    waiting change first became due; `failing_since` is the same for the oldest one whose last attempt failed, with `last_error`.
    `mismatch` names the running processes that know the target and those that do not; null if all know it.
    """

    name: str
    kind: str | None
    sources: list[str] | None
    milestones: list[str] | None
    milestone_changed: bool
    basis: Literal["events", "shipment"]
    waiting: int
    waiting_capped: bool
    oldest_due_at: Moment | None
    failing_since: Moment | None
    last_error: str | None
    dead: int
    dead_capped: bool
    next_due_at: Moment | None = Field(description="next attempt; while one is under way: when it counts as lost")
    paused_at: Moment | None = Field(description="when an operator paused it")
    stopped_at: Moment | None = Field(description="when it answered 410")
    stop_reason: str | None
    mismatch: str | None


class DeadItem(Schema):
    """A failed change, which is not retried automatically, with the error of its last attempt."""

    target: str
    source: str
    tracker_id: str
    basis: Literal["events", "shipment"]
    sequence: int
    event_id: str | None
    died_at: Moment
    attempts: int
    error: str
