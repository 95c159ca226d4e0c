"""The JSON bodies of the POST endpoints, checked. An unknown field is an error that names the known ones."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from receiver.domain.changes import SHIPMENT_MOVE_OFFSET
from receiver.domain.customer_changes import CustomerUpload
from receiver.domain.customers import check_rows
from receiver.domain.imports import BroughtIn, ImportRequest
from receiver.errors import UnexpectedShape
from receiver.storage.queries import MAX_LIMIT, QuarantineFilter
from receiver.storage.queries.pages import as_stored
from receiver.web.api.parameters import Cursor, Moment, Parameters, SourceName, Text, name_problem


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


TrackerId = Annotated[Text, AfterValidator(as_stored)]
Document = Annotated[str, AfterValidator(_check_document)]


class CommandBody(Parameters):
    """The base of all bodies. The values must have exactly the types of the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SetupWindowBody(CommandBody):
    """Open a source's setup window for at most 24 hours; a time in the past closes it."""

    source: SourceName
    closes_at: Moment


class CustomersBody(CommandBody):
    """A whole customer list: pairs of a customer code and its document."""

    rows: Annotated[list[tuple[Text, Document]], AfterValidator(_check_customers)]
    allow_empty: bool = Field(default=False, description="accept a list without customers")
    dry_run: bool = Field(default=False, description="only show what would change")

    @model_validator(mode="after")
    def _check_consent(self) -> "CustomersBody":
        if not self.rows and not self.allow_empty:
            raise ValueError("rows: the list is empty. To serve an empty list, set allow_empty to true")
        return self


class RestoreBody(CommandBody):
    """Restore an earlier customer list."""

    list: Text | None = Field(default=None, description="`id` of `GET /customers/lists`; null: the list before the served one")
    dry_run: bool = Field(default=False, description="only show what would change")


class ImportBody(CommandBody):
    """A body as the sender would have sent it: its exact text, or the JSON value. It is decided as a webhook is."""

    source: SourceName
    kind: Text | None = Field(None, description="`new-package` or `manifest-status` of Shiipp; null for Ship24")
    body: str | dict[str, Any] | list[Any] = Field(description="the exact text of the body, or its JSON value")
    at: Moment | None = Field(
        None, description="when the body was first sent; it takes the place of the arrival where arrival decides"
    )
    dry_run: bool = Field(default=False, description="only show the verdicts, and the trackers that would move")
    origin: BroughtIn = Field("import", description="`reconcile` for what was found missing at the sender")
    number: int = Field(
        1, ge=1, le=2**31 - 1, description="number of the body in its file; a part of the id of a message that has none"
    )

    def to_request(self) -> ImportRequest:
        """Return the request of the import. Raises UnexpectedShape for a value that JSON text cannot hold, such as NaN."""
        return ImportRequest(
            self.source, self.kind, _write_body(self.body), self.at, self.dry_run, origin=self.origin, number=self.number
        )


def _write_body(body: str | dict[str, Any] | list[Any]) -> bytes:
    try:
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except ValueError:  # orjson would write null in the place of NaN, and of a number that is too large
        raise UnexpectedShape("body: the value cannot be written as JSON; send the exact text.") from None


class ReplayBody(CommandBody):
    """The options of a replay; all are optional."""

    dry_run: bool = Field(default=False, description="only show what would change")
    force: bool = Field(default=False, description="also decide quarantined messages, whatever their time")
    undo: bool = Field(default=False, description="take back the events that only `force` accepts")

    retry: bool = Field(default=False, description="also decide quarantined messages, within the limits")

    @model_validator(mode="after")
    def _check_one(self) -> "ReplayBody":
        if self.force + self.undo + self.retry > 1:
            raise ValueError("undo: expected one of `force`, `retry` and `undo`")
        return self


class QuarantineBody(CommandBody):
    """A choice of quarantined messages and events: by `ids`, or those that match the other fields."""

    ids: Annotated[list[Text], Field(min_length=1, max_length=MAX_LIMIT)] | None = None
    q: Text | None = Field(None, description="as in the list of the quarantine")
    source: SourceName | None = None
    reason: Text | None = None
    since: Moment | None = None
    until: Moment | None = None
    delivery_id: Text | None = None

    @model_validator(mode="after")
    def _check_choice(self) -> "QuarantineBody":
        filters = (self.q, self.source, self.reason, self.since, self.until, self.delivery_id)
        has_filter = any(value is not None for value in filters)
        if (self.ids is not None) == has_filter:
            raise ValueError("ids: expected ids, or a filter such as `reason`; not both")
        return self

    def to_filter(self) -> QuarantineFilter:
        """Return the filter of the storage."""
        return QuarantineFilter(self.source, self.reason, self.q, self.since, self.until, delivery_id=self.delivery_id)


class DismissBody(QuarantineBody):
    """Dismiss quarantined messages and events: by `ids`, or the open ones that match a filter."""

    note: Text | None = Field(None, description="why; it is stored with each item and in the audit log")


class ReopenBody(QuarantineBody):
    """Open dismissed messages and events again: by `ids`, or the dismissed ones that match a filter."""


class RetryQuarantineBody(QuarantineBody):
    """Decide quarantined messages and events again: by `ids`, or the open ones that match a filter."""

    cursor: Cursor | None = Field(None, description="`next` of the previous response, with the same filter")
    dry_run: bool = Field(default=False, description="only show what would change")


class AlarmTestBody(CommandBody):
    """A test has no options."""


class DropBody(CommandBody):
    """Remove the waiting and failed changes of a target that the settings no longer name."""

    target: Text


class PauseBody(CommandBody):
    """Pause a target: its changes wait until it is resumed."""

    target: Text


class FlushBody(CommandBody):
    """Try the waiting changes of a target at once."""

    target: Text


class ResendBody(CommandBody):
    """Send a change of a tracker again, with the same id and sequence."""

    source: SourceName
    tracker_id: TrackerId
    target: Text | None = Field(None, description="null: all targets with a record of the change")
    basis: Literal["events", "shipment"] = "events"
    sequence: int | None = Field(None, ge=1, lt=SHIPMENT_MOVE_OFFSET, description="null: the last change")


class ResumeBody(CommandBody):
    """Resume a target that was paused, or stopped after it answered 410."""

    target: Text


class RetryBody(CommandBody):
    """Retry the failed changes of a target, all or some."""

    target: Text
    since: Moment | None = Field(None, description="only those that failed since then")
    source: SourceName | None = None
    tracker_id: TrackerId | None = Field(None, description="needs `source`")

    @model_validator(mode="after")
    def _check_tracker(self) -> "RetryBody":
        if self.tracker_id is not None and self.source is None:
            raise ValueError("source: expected the source of `tracker_id`")
        return self


class TargetTestBody(CommandBody):
    """Send a test change to a target. It is marked as a test, and nothing stores it."""

    target: Text


class PruneBody(CommandBody):
    """Prune now. One request works for two seconds; while there is `more`, the next one continues its `run`."""

    bodies_days: int | None = Field(
        None, ge=1, le=36_500, description="instead of RECEIVER_BODY_RETENTION_DAYS; null with a `run`: as in its first request"
    )
    run: Text | None = Field(None, description="`run` of the previous response; null: begin a new one")


class PruneTestsBody(CommandBody):
    """Remove the deliveries and trackers of tests. One request works for two seconds; while there is `more`, ask again."""

    test_run: Text | None = Field(None, pattern="^[0-9a-f]{8}$", description="`test_run` of the test; null: all tests")
    dry_run: bool = Field(default=False, description="only count what would be removed")


class BackupBody(CommandBody):
    """Begin a backup, ask for its progress, or cancel it."""

    file: Text | None = Field(None, description="to begin: the absolute path of a file whose content is `proof`")
    proof: Text | None = Field(None, description="to begin: it shows that whoever asks may write the file")
    run: Text | None = Field(None, description="`run` of the response that began the backup")
    cancel: bool = Field(default=False, description="stop the backup `run`")

    @model_validator(mode="after")
    def _check_one(self) -> "BackupBody":
        begins = self.file is not None and self.proof is not None and self.run is None and not self.cancel
        continues = self.run is not None and self.file is None and self.proof is None
        if not begins and not continues:
            raise ValueError("expected `file` and `proof` to begin, or `run` to continue")
        return self


class ForgetBody(CommandBody):
    """Erase the personal data of one tracker."""

    source: SourceName
    tracker_id: TrackerId


_B = TypeVar("_B", bound=CommandBody)


def read_body(kind: type[_B], body: bytes) -> _B:
    """Read a JSON body. Raises UnexpectedShape that names the field."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise name_problem(kind, error) from None


def read_value(kind: type[_B], value: object) -> _B:
    """Read a body that is parsed already. Raises UnexpectedShape that names the field."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise name_problem(kind, error) from None


def read_fields(kind: type[_B], fields: Mapping[str, str]) -> _B:
    """Read the fields of a form. Raises UnexpectedShape that names the field."""
    try:
        return kind.model_validate_strings(fields)
    except ValidationError as error:
        raise name_problem(kind, error) from None


def read_customers(body: bytes) -> CustomerUpload:
    """Read a customer list. Raises UnexpectedShape that names the field."""
    found = read_body(CustomersBody, body)
    return CustomerUpload(found.rows, found.dry_run)
