"""What may be asked: the parameters of each question, checked; an unknown one is an error that names the known ones."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from receiver.clock import to_micros
from receiver.domain.customers import check_rows
from receiver.domain.storable import make_storable
from receiver.domain.trimming import trim
from receiver.errors import UnexpectedShape
from receiver.sources import NAMES
from receiver.storage.queries import MAX_LIMIT
from receiver.web.api.shapes import CallOutcome

_P = TypeVar("_P", bound=BaseModel)
_WINDOW = re.compile(r"[1-9][0-9]{0,2}[mhd]", re.ASCII)
_UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
_MAX_WINDOW_SECONDS = 400 * 86_400


def _read_moment(value: object) -> int:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        return max(0, to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC)))
    except (ValueError, OverflowError):
        raise ValueError("expected a time such as 2026-01-31T12:00:00Z") from None


def _check_window(value: str) -> str:
    if _WINDOW.fullmatch(value) is None or window_seconds(value) > _MAX_WINDOW_SECONDS:
        raise ValueError("expected a span of at most 400 days such as 15m, 24h or 7d")
    return value


def _check_customers(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    try:
        return check_rows(rows)
    except UnexpectedShape as error:
        raise ValueError(" ".join(error.message.split()).removesuffix(".")) from None


def _check_document(value: str) -> str:
    try:
        if isinstance(orjson.loads(value), dict) and "\\u0000" not in value:
            return value
    except orjson.JSONDecodeError:
        pass
    raise ValueError("expected the JSON text of an object")


def window_seconds(window: str) -> int:
    """Return the length of a span such as `24h`."""
    return int(window[:-1]) * _UNIT_SECONDS[window[-1]]


Text = Annotated[
    str,
    AfterValidator(lambda value: make_storable(trim(value))),
    Field(min_length=1, max_length=500),
]
Moment = Annotated[int, BeforeValidator(_read_moment), Field(json_schema_extra={"type": "string", "format": "date-time"})]
Window = Annotated[str, AfterValidator(_check_window), Field(json_schema_extra={"pattern": f"^{_WINDOW.pattern}$"})]
Document = Annotated[str, AfterValidator(_check_document)]
SourceName = Literal[*NAMES]  # type: ignore[valid-type]


class Parameters(BaseModel):
    """The root: a parameter that is not named is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Paged(Parameters):
    """What all lists take."""

    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="at most so many items")
    cursor: Text | None = Field(None, description="`next` of the page before")


class TrackersQuery(Paged):
    """Which trackers."""

    q: Text | None = Field(
        None, description="tracking number, tracker id, client tracker id or reference, or the beginning of one, without case"
    )
    source: SourceName | None = None
    milestone: Text | None = None
    updated_before: Moment | None = None
    updated_after: Moment | None = None
    stuck_days: float | None = Field(None, gt=0, le=36_500, description="not final, and no newer event for so many days")
    milestone_differs: bool | None = Field(None, description="whether the sender's own view of the shipment is another milestone")


class DeliveriesQuery(Paged):
    """Which calls."""

    source: SourceName | None = None
    status: int | None = Field(None, ge=100, le=599)
    outcome: CallOutcome | None = None
    client: Text | None = Field(None, description="the address that was resolved")
    since: Moment | None = None
    until: Moment | None = None
    message_id: Text | None = None
    tracking_number: Text | None = None


class QuarantineQuery(Paged):
    """Which items in quarantine."""

    source: SourceName | None = None
    reason: Text | None = None


class StatisticsQuery(Parameters):
    """Which time."""

    window: Window = Field("24h", description="such as 15m, 24h or 7d")


class AlarmsQuery(Parameters):
    """Which alarms."""

    state: Literal["on", "all"] = Field("all", description="only those that are on now, or all that ever were")


class EmptyQuery(Parameters):
    """No parameters."""


class CommandBody(Parameters):
    """The root of what is posted: values are of exactly the types that are named."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SetupWindowBody(CommandBody):
    """Open a source's setup window for at most 24 hours, or close it with a time that is over."""

    source: SourceName
    closes_at: Moment


class CustomersBody(CommandBody):
    """A whole customer list: pairs of customer code and the document that is served for it."""

    rows: Annotated[list[tuple[Text, Document]], AfterValidator(_check_customers)]
    allow_empty: bool = Field(default=False, description="serve an empty list on purpose: a successful sync of nothing")

    @model_validator(mode="after")
    def _check_consent(self) -> "CustomersBody":
        if not self.rows and not self.allow_empty:
            raise ValueError("rows: the list is empty. To serve an empty list, set allow_empty to true")
        return self


class ReplayBody(CommandBody):
    """How a call is to be decided again; nothing need be said."""

    dry_run: bool = Field(default=False, description="show what would change, and change nothing")
    force: bool = Field(
        default=False, description="also what is in quarantine, as if its identity were not kept, and times too far ahead"
    )


class DeadQuery(Paged):
    """Which changes that were given up."""

    target: Text | None = None


class DropOrdered(CommandBody):
    """Remove the waiting and failed changes of a target that the settings no longer name."""

    target: Text


class ResumeBody(CommandBody):
    """Serve a target again that was stopped because it wanted no more."""

    target: Text


class RetryBody(CommandBody):
    """Retry the failed changes of a target."""

    target: Text


def read_query(kind: type[_P], pairs: Sequence[tuple[str, str]]) -> _P:
    """Read a query string, its values trimmed. Raises UnexpectedShape that names the parameter."""
    values = {name: trim(value) for name, value in pairs}
    if len(values) < len(pairs):
        raise UnexpectedShape("Expected each parameter once.")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _name_problem(kind, error) from None


def read_body(kind: type[_P], body: bytes) -> _P:
    """Read a JSON body. Raises UnexpectedShape that names the field."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _name_problem(kind, error) from None


def read_customers(body: bytes) -> list[tuple[str, str]]:
    """Read a customer list as rows. Raises UnexpectedShape that names the field."""
    return read_body(CustomersBody, body).rows


def _name_problem(kind: type[BaseModel], error: ValidationError) -> UnexpectedShape:
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = ", ".join(kind.model_fields) or "none"
        return UnexpectedShape(f"{name[:100]} is not a parameter here; expected: {known}.")
    words = str(problem["msg"]).removeprefix("Value error, ")
    if not name and problem["type"] == "value_error":
        return UnexpectedShape(f"{words}.")
    if not name:
        return UnexpectedShape(f"Expected a JSON object with {', '.join(kind.model_fields)}.")
    return UnexpectedShape(f"{name[:100]}: {words[0].lower()}{words[1:]}.")
