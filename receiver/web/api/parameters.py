"""The query parameters of the GET endpoints, checked. An unknown parameter is an error that names the known ones."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo

from receiver.clock import now, read_iso, to_micros
from receiver.domain.imports import Origin
from receiver.domain.storable import make_storable
from receiver.domain.time_inputs import read_time_input
from receiver.domain.trimming import trim
from receiver.domain.verdicts import OUTCOMES, DeliveryOutcome
from receiver.errors import UnexpectedShape
from receiver.sources import NAMES
from receiver.storage.database import Database
from receiver.storage.queries import (
    MAX_LIMIT,
    NOT_APPLIED,
    SORTS,
    STATE_FILTERS,
    ChangeFilter,
    DeliveryFilter,
    MessageFilter,
    QuarantineFilter,
    TrackerFilter,
    find_tracker,
)

_P = TypeVar("_P", bound=BaseModel)
_WINDOW = re.compile(r"[1-9][0-9]{0,2}[mhd]", re.ASCII)
_UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
_MAX_WINDOW_SECONDS = 400 * 86_400


def _read_moment(value: object) -> int:
    try:
        moment = read_iso(value if isinstance(value, str) else "")
        return max(0, to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC)))
    except (ValueError, OverflowError):
        raise ValueError("expected a time such as 2026-01-31T12:00:00Z") from None


def _read_filter(value: object, info: ValidationInfo) -> int:
    zone = (info.context or {}).get("zone", UTC)
    return read_time_input(value if isinstance(value, str) else "", now(), zone)


def _check_window(value: str) -> str:
    if _WINDOW.fullmatch(value) is None or window_seconds(value) > _MAX_WINDOW_SECONDS:
        raise ValueError("expected a span of at most 400 days such as 15m, 24h or 7d")
    return value


def window_seconds(window: str) -> int:
    """Return the length of a span such as `24h`."""
    return int(window[:-1]) * _UNIT_SECONDS[window[-1]]


Text = Annotated[
    str,
    AfterValidator(lambda value: make_storable(trim(value))),
    Field(min_length=1, max_length=500),
]
Cursor = Annotated[str, AfterValidator(trim), Field(min_length=1)]  # as long as the names in it; a request head is bounded
Moment = Annotated[int, BeforeValidator(_read_moment), Field(json_schema_extra={"type": "string", "format": "date-time"})]
TimeFilter = Annotated[
    int,
    BeforeValidator(_read_filter),
    Field(
        json_schema_extra={"type": "string", "format": "date-time"},
        description="a time in UTC, `2026-01-31T12:00:00Z`; also `2026-01-31 12:00`, `14:03`, `yesterday` or an age such as `2h`",
    ),
]
Window = Annotated[str, AfterValidator(_check_window), Field(json_schema_extra={"pattern": f"^{_WINDOW.pattern}$"})]
SourceName = Literal[*NAMES]  # type: ignore[valid-type]


Sort = Annotated[Literal[*SORTS], Field(description="what comes first, by time")]  # type: ignore[valid-type]


class Parameters(BaseModel):
    """The base of all queries. Parameters that are not fields are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Parameters):
    """The parameters of every list."""

    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="maximum number of items")
    cursor: Cursor | None = Field(None, description="`next` of the previous page")
    format: Literal["json", "csv"] = Field("json", description="`csv`: all items from `cursor` on, as a file for spreadsheets")


class TrackersQuery(PageQuery):
    """Filters for trackers."""

    q: Text | None = Field(
        None, description="start of a tracking number, tracker id, client tracker id or reference; upper or lower case"
    )
    source: SourceName | None = None
    milestone: Text | None = None
    updated_before: TimeFilter | None = None
    updated_after: TimeFilter | None = None
    stuck_days: float | None = Field(
        None,
        gt=0,
        le=36_500,
        description="no newer event for this number of days, and neither the tracker nor its manifest is final",
    )
    milestone_differs: bool | None = Field(None, description="whether the sender's own view of the shipment is another milestone")
    test: bool | None = Field(None, description="`true`: only trackers of tests; `false`: only real ones")
    manifest: Text | None = Field(None, description="only packages of the manifest with this tracker id")
    customer: Text | None = Field(None, description="only packages of the customer with this code of Shiipp; upper or lower case")
    not_delivered_to: Text | None = Field(
        None, description="only trackers with a change that waits, fails or failed for good for this target; by source and id"
    )
    sort: Sort = Field("newest", description="what comes first, by the last update; not with filters that have another order")

    def to_filter(self, now: datetime) -> TrackerFilter:
        """Return the filter of the storage."""
        return TrackerFilter(
            self.q,
            self.source,
            self.milestone,
            self.updated_before,
            self.updated_after,
            None if self.stuck_days is None else max(0, to_micros(now - timedelta(days=self.stuck_days))),
            milestone_differs=self.milestone_differs,
            test=self.test,
            manifest=self.manifest,
            customer=self.customer,
            not_delivered_to=self.not_delivered_to,
            sort=self.sort,
        )


class SearchQuery(Parameters):
    """The search for everything."""

    q: Text = Field(
        description="tracking number, tracker id, client tracker id, reference, message id, delivery id or customer code, or its "
        "beginning; or the last six characters, or more, of a number or reference; upper or lower case"
    )
    limit: int = Field(10, ge=1, le=50, description="maximum number of items of each kind")


class PersonsQuery(PageQuery):
    """A search for the trackers of a person."""

    q: Text = Field(description="words of a name, an address, a reference or a customer code; all of them; upper or lower case")


class DeliveriesQuery(PageQuery):
    """Filters for deliveries."""

    source: SourceName | None = None
    status: int | None = Field(None, ge=100, le=599)
    outcome: DeliveryOutcome | None = None
    client: Text | None = Field(None, description="resolved IP address")
    since: TimeFilter | None = None
    until: TimeFilter | None = None
    message_id: Text | None = None
    tracking_number: Text | None = None
    test: bool | None = Field(None, description="`true`: only deliveries of tests; `false`: only real ones")
    origin: Origin | None = Field(None, description="how they came: sent by the sender, imported, or found by reconciliation")
    sort: Sort = "newest"

    def to_filter(self) -> DeliveryFilter:
        """Return the filter of the storage."""
        return DeliveryFilter(**self.model_dump(exclude=set(PageQuery.model_fields)))


class MessagesQuery(PageQuery):
    """Filters for messages."""

    outcome: Literal[*OUTCOMES, NOT_APPLIED] | None = Field(  # type: ignore[valid-type]
        None, description="`not_applied`: all but applied messages and exact copies of known ones"
    )
    reason: Text | None = None
    source: SourceName | None = None
    since: TimeFilter | None = None
    until: TimeFilter | None = None
    tracking_number: Text | None = None
    test: bool | None = Field(None, description="`true`: only messages of tests; `false`: only real ones")
    origin: Origin | None = Field(None, description="how their delivery came: sent by the sender, imported, or reconciled")
    sort: Sort = "newest"

    def to_filter(self) -> MessageFilter:
        """Return the filter of the storage."""
        return MessageFilter(**self.model_dump(exclude=set(PageQuery.model_fields)))


class QuarantineQuery(PageQuery):
    """Filters for the quarantine."""

    q: Text | None = Field(
        None, description="message id, tracker id, tracking number, reference, or text in the content; upper or lower case"
    )
    source: SourceName | None = None
    reason: Text | None = None
    since: TimeFilter | None = None
    until: TimeFilter | None = None
    state: Literal["open", "dismissed", "resolved", "all"] = Field(
        "open", description="`resolved`: the sender sent a corrected copy; `dismissed`: an operator closed it"
    )
    delivery_id: Text | None = None
    sort: Sort = "newest"

    def to_filter(self) -> QuarantineFilter:
        """Return the filter of the storage."""
        return QuarantineFilter(search=self.q, **self.model_dump(exclude={*PageQuery.model_fields, "q"}))


class StatisticsQuery(Parameters):
    """The window of the statistics."""

    window: Window = Field("24h", description="such as 15m, 24h or 7d")


class AlarmsQuery(Parameters):
    """Filters for alarms."""

    state: Literal["on", "all"] = Field("all", description="`on`: only current alarms")


class DowntimeQuery(Parameters):
    """Filter for downtimes."""

    since: TimeFilter | None = Field(None, description="only what ended later; null: 90 days ago")


class ChangesQuery(PageQuery):
    """Filters for changes."""

    target: Text | None = None
    state: Literal[*STATE_FILTERS] | None = Field(  # type: ignore[valid-type]
        None, description="`not_delivered`: failing, dead or waiting"
    )
    source: SourceName | None = None
    tracker: Text | None = Field(
        None, description="a tracking number, an id, a reference, or SOURCE/ID; one tracker must have it"
    )
    since: TimeFilter | None = Field(None, description="delivered or failed for good since then, or else queued since then")
    until: TimeFilter | None = None

    def to_filter(self, database: Database) -> ChangeFilter:
        """Return the filter of the storage. Raises NotFound if no tracker or more than one has the name."""
        source, tracker_id = self.source, None
        if self.tracker is not None:
            source, tracker_id = find_tracker(database, self.tracker, NAMES, self.source)
        return ChangeFilter(self.target, self.state, source, tracker_id, self.since, self.until)


class DeadQuery(PageQuery):
    """Filters for failed changes."""

    target: Text | None = None


class CustomersQuery(PageQuery):
    """The search in the customer list."""

    q: Text | None = Field(None, description="words of the customer code or the name; upper or lower case")


class EmptyQuery(Parameters):
    """No parameters."""


def read_query(kind: type[_P], pairs: Sequence[tuple[str, str]], zone: tzinfo = UTC) -> _P:
    """Read a query string; values are trimmed, times without a zone are in `zone`.

    Raises UnexpectedShape that names the parameter.
    """
    values = {name: trim(value) for name, value in pairs}
    if len(values) < len(pairs):
        raise UnexpectedShape("Expected each parameter once.")
    try:
        return kind.model_validate(values, context={"zone": zone})
    except ValidationError as error:
        raise name_problem(kind, error) from None


def name_problem(kind: type[BaseModel], error: ValidationError) -> UnexpectedShape:
    """Return the error that names the first wrong parameter or field, and the rule."""
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = ", ".join(kind.model_fields) or "none"
        return UnexpectedShape(f"{name[:100]} is not a parameter here; expected: {known}.")
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not name and problem["type"] == "value_error":
        return UnexpectedShape(f"{message}.")
    if not name:
        return UnexpectedShape(f"Expected a JSON object with {', '.join(kind.model_fields)}.")
    return UnexpectedShape(f"{name[:100]}: {message[0].lower()}{message[1:]}.")
