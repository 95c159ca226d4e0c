"""The service itself: statistics, alarms, audit, and what orders answer."""

from typing import Literal

from receiver.web.api.shapes.root import CallOutcome, Moment, Schema


class Lag(Schema):
    """How long after their occurrence events arrived, from a sample of the last ones; times without a zone count as UTC."""

    events: int
    p50_seconds: float | None
    p90_seconds: float | None
    p99_seconds: float | None


class SourceStatistics(Schema):
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


class StatisticsAnswer(Schema):
    """Counts by source and outcome, and sizes; `rows` are estimates."""

    window: str
    since: Moment
    until: Moment
    sources: dict[str, SourceStatistics]
    database_bytes: int
    rows: dict[str, int]


class AlarmItem(Schema):
    """Something that is, or was, wrong; `ended_at` is null while it is."""

    name: str
    subject: str
    began_at: Moment
    ended_at: Moment | None
    message: str


class AuditItem(Schema):
    """Something that an operator changed."""

    id: str
    done_at: Moment
    actor: str
    address: str | None
    action: str
    subject: str
    detail: str | None


class Alarms(Schema):
    """All alarms that ever began."""

    items: list[AlarmItem]
    next: None


class Audit(Schema):
    """A page of what operators changed."""

    items: list[AuditItem]
    next: str | None


class WindowAnswer(Schema):
    """Until when a source may call from any address."""

    source: str
    closes_at: Moment


class CustomersAnswer(Schema):
    """How many customers are served from now on."""

    customers: int


class TargetItem(Schema):
    """Somebody who is told of changes. `kind` is null where the settings no longer name it; `sources` and `milestones` are those
    that it wants, null for all. `waiting` and `dead` are exact up to 10,000; with more they are 10,000 and capped.
    `oldest_due_at` is when the oldest waiting change first became due, `failing_since` the same of the oldest one whose last try
    failed with `last_error`. `mismatch` says which running processes know it and which do not, null where all do.
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
    stopped_at: Moment | None
    stop_reason: str | None
    mismatch: str | None


class Targets(Schema):
    """All targets."""

    items: list[TargetItem]
    next: None


class DeadItem(Schema):
    """A change that was given up, with how its last try ended."""

    target: str
    source: str
    tracker_id: str
    basis: Literal["events", "shipment"]
    move: int
    event_id: str | None
    died_at: Moment
    attempts: int
    error: str


class Dead(Schema):
    """A page of changes that were given up."""

    items: list[DeadItem]
    next: str | None


class DropAnswer(Schema):
    """How many changes were removed. While there is `more`, the same request removes the next ones."""

    target: str
    waiting: int
    dead: int
    more: bool


class ResumeAnswer(Schema):
    """Whether the target was stopped until now."""

    target: str
    resumed: bool


class RetryAnswer(Schema):
    """How many changes wait again."""

    target: str
    changes: int
