"""The POST endpoints that find and bring in what never came at the vendor."""

import asyncio
import base64
from typing import Any

import orjson
from pydantic import Field, model_validator

from receiver.domain.reconciliation import ReconcileRequest, describe_run
from receiver.errors import UnexpectedShape
from receiver.sources.codings import inflate
from receiver.sources.large_json import load_large
from receiver.sources.shiipp_export import MAX_EXPORT_BYTES, PackageExport
from receiver.web.api.bodies import CommandBody, read_body, read_value
from receiver.web.api.command_context import CommandContext, CommandEndpoint, OperatorRequest
from receiver.web.api.parameters import Moment, Text
from receiver.web.api.schemas.recovery import ReconcileAnswer, ReconcileReportAnswer

_MAX_TRACKERS = 1000
_MAX_FILES = 20
_GZIP = b"\x1f\x8b"
_HISTORY_DEPTH = 4  # {"histories": [{"webhooks": [each of these


class ReconcileBody(CommandBody):
    """Begin a reconciliation, ask for its progress with `run`, or stop it."""

    since: Moment | None = Field(None, description="trackers that may have lost something since then")
    until: Moment | None = Field(None, description="the end of the time in which something was lost")
    trackers: list[Text] = Field(default=[], max_length=_MAX_TRACKERS, description="these trackers, by the vendor's id")
    all_trackers: bool = Field(default=False, description="all trackers, also those that only the vendor knows")
    resend: bool = Field(default=False, description="let the vendor send the messages again, instead of bringing them in")
    dry_run: bool = Field(default=False, description="only find out what is missing")
    run: Text | None = Field(None, description="`id` of the response that began it: its progress")
    cancel: bool = Field(default=False, description="stop `run`; the same request continues it")

    @model_validator(mode="after")
    def _check_one(self) -> "ReconcileBody":
        chosen = [bool(self.trackers), self.all_trackers, self.since is not None, self.run is not None]
        if sum(chosen) != 1:
            raise ValueError("expected one of `since`, `trackers`, `all_trackers` and `run`")
        if self.until is not None and (self.since is None or self.until < self.since):
            raise ValueError("until: expected a time after `since`")
        if self.run is None and self.cancel:
            raise ValueError("cancel: expected the `run` to stop")
        if self.run is not None and (self.resend or self.dry_run):
            raise ValueError("run: expected no other field than `cancel`")
        return self

    def to_request(self) -> ReconcileRequest:
        """Return the request that begins it."""
        trackers = tuple(sorted(set(self.trackers)))
        return ReconcileRequest(self.since, self.until, trackers, self.all_trackers, self.resend, self.dry_run)


class HistoryBody(CommandBody):
    """Webhook histories as they were downloaded: what never came is brought in. No API key is needed."""

    histories: list[dict[str, Any]] = Field(min_length=1, description="the content of the files")
    dry_run: bool = Field(default=False, description="only find out what is missing")


class ExportFile(CommandBody):
    """A packages export of Shiipp."""

    name: Text = Field(description="the name of the file, for the report")
    content: str = Field(description="the file in Base64: CSV or XLSX, possibly compressed with gzip")

    def read(self) -> PackageExport:
        """Return the export. Raises UnexpectedShape, BodyTooLarge or InvalidJson."""
        try:
            content = base64.b64decode(self.content, validate=True)
        except ValueError:
            raise UnexpectedShape(f"{self.name}: expected the content in Base64.") from None
        if content.startswith(_GZIP):
            content = inflate(content, ("gzip",), MAX_EXPORT_BYTES)
        return PackageExport(self.name, content)


class ExportsBody(CommandBody):
    """Compare exports of Shiipp's packages, ask for the progress of that with `run`, or stop it."""

    files: list[ExportFile] = Field(default=[], max_length=_MAX_FILES, description="all parts of an export")
    dry_run: bool = Field(default=False, description="only find out what is missing")
    run: Text | None = Field(None, description="`id` of the response that began it: its progress")
    cancel: bool = Field(default=False, description="stop `run`; the same request finds the rest")

    @model_validator(mode="after")
    def _check_one(self) -> "ExportsBody":
        if bool(self.files) == (self.run is not None):
            raise ValueError("expected one of `files` and `run`")
        return self


async def _reconcile(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    body = request.body
    if body.run is None:
        return describe_run(await context.reconciliations.begin(body.to_request(), request.operator.entry)) | {"goes_on": True}
    return _show_progress(context, body.run, cancel=body.cancel)


async def _compare_exports(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    body = await asyncio.to_thread(read_body, ExportsBody, request.body)  # slow for a large file
    if body.run is not None:
        return _show_progress(context, body.run, cancel=body.cancel)
    exports = await asyncio.to_thread(lambda: [file.read() for file in body.files])
    begun = context.reconciliations.begin_exports(exports, request.operator.entry, dry_run=body.dry_run)
    return describe_run(await begun) | {"goes_on": True}


def _show_progress(context: CommandContext, run: str, *, cancel: bool) -> dict[str, Any]:
    if cancel:
        context.reconciliations.stop(run)
    row, goes_on = context.reconciliations.read(run)
    return describe_run(row) | {"goes_on": goes_on}


async def _read_histories(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    body = await asyncio.to_thread(_read_history_body, request.body)
    report = await context.reconciliations.runs.read_files(body.histories, request.operator.entry, dry_run=body.dry_run)
    return report.as_json()


def _read_history_body(content: bytes) -> HistoryBody:
    """Read the body, which may be large. Raises UnexpectedShape that names the field."""
    try:
        return read_value(HistoryBody, load_large(content, _HISTORY_DEPTH))
    except orjson.JSONDecodeError:
        return read_body(HistoryBody, content)  # says what is wrong


RECOVERY_ENDPOINTS = (
    CommandEndpoint("/reconcile/ship24", "Compare trackers with Ship24", ReconcileBody, ReconcileAnswer, _reconcile),
    CommandEndpoint(
        "/reconcile/shiipp",
        "Compare exports of Shiipp's packages",
        ExportsBody,
        ReconcileAnswer,
        _compare_exports,
        reads_body=False,
    ),
    CommandEndpoint(
        "/reconcile/ship24/history",
        "Bring in what never came, from downloaded webhook histories",
        HistoryBody,
        ReconcileReportAnswer,
        _read_histories,
        reads_body=False,
    ),
)
"""The endpoints, a part of `commands.COMMAND_ENDPOINTS`."""
