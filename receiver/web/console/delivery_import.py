"""The page that brings in deliveries. It shows the results first, then asks for confirmation."""

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from receiver.clock import iso, to_micros
from receiver.domain.imports import Imported, ImportRequest
from receiver.domain.labels import count
from receiver.domain.trimming import trim
from receiver.domain.verdicts import OUTCOMES
from receiver.errors import ReceiverError, StorageUnavailable, UnexpectedShape
from receiver.maintenance.bring_in import DeliveryImport
from receiver.sources import Source
from receiver.sources.body_files import FileBody, split_bodies
from receiver.web.console.forms import Form, read_file, read_time
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import FormResult, Page

DELIVERY_IMPORT_PATH = "/ops/deliveries/import"
MAX_BODIES = 200
"""The maximum number of bodies that the page imports at once."""

_MAX_BYTES = 8 * 2**20  # the page with the results sends the bodies once more, as Base64
_MAX_SHOWN = 200  # messages, and trackers
_COMMANDS = ("show", "import")


class _BodyResult(NamedTuple):
    """The result of one body, or why it cannot be imported."""

    number: int
    imported: Imported | None = None
    problem: str | None = None


class _Upload(NamedTuple):
    source: Source
    sent_at: int | None
    content: bytes
    bodies: list[FileBody]


def ask_for_bodies(deliveries: DeliveryImport, _page_request: ConsoleRequest) -> Page:
    """Ask for the bodies: pasted, or a file."""
    return _make_page(deliveries.sources, {})


async def import_bodies(deliveries: DeliveryImport, page_request: ConsoleRequest, form: Form) -> FormResult | Page:
    """Show what an import would do, or import. Raises UnexpectedShape for another form, and StorageUnavailable."""
    if form.get("command") not in _COMMANDS:
        raise UnexpectedShape("Expected the form of the import.")
    dry_run = form["command"] == "show"
    try:
        upload = await asyncio.to_thread(_read_upload, deliveries, page_request, form)
    except UnexpectedShape as error:
        return _make_page(deliveries.sources, form, problem=error.message)
    results = [await _import_body(deliveries, page_request, upload, body, dry_run=dry_run) for body in upload.bodies]
    if not dry_run:
        return FormResult(_make_page(deliveries.sources, form, results=results, done=True), _summarize(results))
    shown = {**form, "at": "" if upload.sent_at is None else iso(upload.sent_at)}  # "2h ago" is another time a minute later
    return _make_page(deliveries.sources, shown, results=results, content=base64.b64encode(upload.content).decode())


def _summarize(results: Sequence[_BodyResult]) -> str:
    """Return the numbers of deliveries and of messages by outcome."""
    imported = [result.imported for result in results if result.imported is not None]
    numbers = {outcome: sum(each.counts[outcome] for each in imported) for outcome in OUTCOMES}
    found = ", ".join(f"{number} {outcome}" for outcome, number in numbers.items() if number)
    failed = len(results) - len(imported)
    problem = f" {count(failed, 'body', 'bodies')} could not be imported." if failed else ""
    return f"Imported {count(len(imported), 'delivery', 'deliveries')}{f': {found}' if found else ''}.{problem}"


async def _import_body(
    deliveries: DeliveryImport, page_request: ConsoleRequest, upload: _Upload, body: FileBody, *, dry_run: bool
) -> _BodyResult:
    """Import one body, or return why that is not possible. The others go on."""
    source = upload.source
    request = ImportRequest(source.name, source.kind, body.content, upload.sent_at, dry_run, number=body.number)
    try:
        return _BodyResult(body.number, await deliveries.bring_in(page_request.operator.entry, request))
    except StorageUnavailable:
        raise
    except ReceiverError as error:
        return _BodyResult(body.number, problem=error.message)


def _read_upload(deliveries: DeliveryImport, page_request: ConsoleRequest, form: Form) -> _Upload:
    """Return the bodies in the file or the text, or in what the page before has shown. Raises UnexpectedShape."""
    source = next((source for source in deliveries.sources if source.kind == form.get("kind")), None)
    if source is None:
        raise UnexpectedShape("Choose which bodies they are.")
    content = _read_content(form)
    if not content.strip():
        raise UnexpectedShape("Paste a body, or choose a file.")
    if len(content) > _MAX_BYTES:
        raise UnexpectedShape(f"Expected at most {_MAX_BYTES >> 20} MiB. Import a larger file with receiver deliveries import.")
    bodies = list(islice(split_bodies([content], deliveries.max_body_bytes, sends_arrays=source.sends_arrays), MAX_BODIES + 1))
    if len(bodies) > MAX_BODIES:
        raise UnexpectedShape(f"Expected at most {MAX_BODIES} bodies. Import a larger file with receiver deliveries import.")
    sent_at = read_time(form, "at", "First sent", page_request.now, page_request.zone.info)
    if sent_at is not None and sent_at > to_micros(page_request.now):
        raise UnexpectedShape("First sent: expected a time in the past.")
    return _Upload(source, sent_at, content, bodies)


def _read_content(form: Mapping[str, str]) -> bytes:
    if "content" in form:
        try:
            return base64.b64decode(form["content"], validate=True)
        except (binascii.Error, ValueError):
            raise UnexpectedShape("Expected the bodies of the page before. Choose them again.") from None
    return read_file(form) or form.get("text", "").encode()


def _make_page(sources: Sequence[Source], form: Mapping[str, str], **values: Any) -> Page:
    nothing: dict[str, Any] = {"problem": None, "results": [], "content": "", "done": False, "max_shown": _MAX_SHOWN}
    chosen = {"kind": form.get("kind"), "at": trim(form.get("at", "")), "text": form.get("text", "")}
    return Page("delivery_import.html", "deliveries", nothing | {"sources": sources, "chosen": chosen} | values)
