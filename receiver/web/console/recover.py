"""The page Recover: when deliveries may have been lost, and what reconciliations have found."""

import asyncio
from codecs import BOM_UTF8
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.responses import Response

from receiver.clock import iso, to_micros
from receiver.domain.labels import count
from receiver.domain.reconciliation import MAX_EXAMPLES, ReconcileReport, ReconcileRequest
from receiver.domain.rows import ReconciliationRow
from receiver.domain.storable import make_storable
from receiver.errors import UnexpectedShape
from receiver.maintenance.reconcile.jobs import ReconcileJobs
from receiver.maintenance.reconcile.shiipp import SHIIPP
from receiver.monitoring.downtime import DEFAULT_SPAN, describe_downtime, read_downtimes
from receiver.sources.large_json import load_large
from receiver.sources.shiipp_export import PackageExport
from receiver.storage.database import Database
from receiver.storage.queries.reconciliation import find_reconciliation, list_reconciliations
from receiver.web.console.forms import Form, read_file, read_time
from receiver.web.console.links import to_reconciliation
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import FormResult, Page
from receiver.web.console.rendering import redirect

RECOVER_PATH = "/ops/recover"
RECONCILIATION_PATH = f"{RECOVER_PATH}/{{run_id}}"
_MAX_BYTES = 8 * 2**20
_HISTORY_DEPTH = 2  # {"webhooks": [each of these
_MAX_NAME = 100
_MAX_DOWNTIMES = 20


def show_recover(database: Database, active_sources: Sequence[str], jobs: ReconcileJobs, page_request: ConsoleRequest) -> Page:
    """Show downtimes, reconciliations, and the forms that begin one."""
    return _make_page(database, active_sources, jobs, page_request, {})


async def recover(
    database: Database, active_sources: Sequence[str], jobs: ReconcileJobs, page_request: ConsoleRequest, form: Form
) -> FormResult | Page | Response:
    """Begin or stop a reconciliation, or bring in what downloaded histories have. Raises AlreadyRunning or NotFound."""
    entry, command, dry_run = page_request.operator.entry, form.get("command", ""), form.get("dry_run") == "yes"
    try:
        if command == "stop":
            jobs.stop(form.get("run", ""))
        elif command == "compare" and form.get("source") == "ship24":
            root = await asyncio.to_thread(_read_history, form)
            report = await jobs.runs.read_files([root], entry, dry_run=dry_run)
            values = {"report": report, "dry_run": dry_run}
            return FormResult(Page("recover_history.html", "recover", values), _summarize(report, dry_run=dry_run))
        elif command == "compare" and form.get("source") == "shiipp":
            export = await asyncio.to_thread(_read_export, form)
            row = await jobs.begin_exports([export], entry, dry_run=dry_run)
            return redirect(to_reconciliation(row.id))
        elif command == "compare":
            raise UnexpectedShape("Choose what the file is.")
        elif command == "begin":
            await jobs.begin(_read_request(page_request, form), entry)
        else:
            raise UnexpectedShape("Expected a form of the page Recover.")
    except UnexpectedShape as error:
        return await asyncio.to_thread(_make_page, database, active_sources, jobs, page_request, form, problem=error.message)
    return redirect(RECOVER_PATH)


def show_reconciliation(database: Database, jobs: ReconcileJobs, page_request: ConsoleRequest) -> Page:
    """Show a reconciliation with all that it found. Raises NotFound."""
    run = _describe(find_reconciliation(database, page_request.path["run_id"]), jobs)
    return Page("reconciliation.html", "recover", {"run": run, "max_examples": MAX_EXAMPLES})


def _summarize(report: ReconcileReport, *, dry_run: bool) -> str:
    if not report.repaired.number:
        return "Nothing was missing."
    return f"{'Missing:' if dry_run else 'Brought in'} {count(report.messages, 'message')} with {count(report.events, 'event')}."


def _make_page(
    database: Database,
    active_sources: Sequence[str],
    jobs: ReconcileJobs,
    page_request: ConsoleRequest,
    form: Form,
    problem: str | None = None,
) -> Page:
    now = to_micros(page_request.now)
    found = read_downtimes(database, to_micros(page_request.now - DEFAULT_SPAN), now)
    values = {
        "downtimes": [describe_downtime(downtime, active_sources) for downtime in found[:_MAX_DOWNTIMES]],
        "runs": [_describe(row, jobs) for row in list_reconciliations(database)],
        "has_key": jobs.has_key,
        "is_running": jobs.running_id() is not None,
        "chosen": {name: form.get(name, "") for name in ("since", "until", "look", "dry_run", "source")},
        "problem": problem,
    }
    return Page("recover.html", "recover", values)


def _describe(row: ReconciliationRow, jobs: ReconcileJobs) -> dict[str, Any]:
    """Return a reconciliation for the page: its request and its report as objects, and its state."""
    request = ReconcileRequest.from_json(orjson.loads(row.request))
    if row.ended_at is not None:
        state = "done"
    elif jobs.running_id() == row.id:
        state = "running"
    else:
        state = "stopped"
    return {
        "id": row.id,
        "source": row.source,
        "noun": "package" if row.source == SHIIPP else "tracker",
        "advice": "Comparing the file again finds the rest." if row.source == SHIIPP else "The same request continues it.",
        "began_at": iso(row.began_at),
        "actor": row.actor,
        "problem": row.problem,
        "state": state,
        "request": request,
        "since": None if request.since is None else iso(request.since),
        "until": None if request.until is None else iso(request.until),
        "report": ReconcileReport.from_json(orjson.loads(row.report)),
    }


def _read_request(page_request: ConsoleRequest, form: Form) -> ReconcileRequest:
    """Return what a form asks for. Raises UnexpectedShape."""
    dry_run = form.get("dry_run") == "yes"
    if form.get("look") == "all":
        return ReconcileRequest(all_trackers=True, dry_run=dry_run)
    now, zone = page_request.now, page_request.zone.info
    since, until = (read_time(form, name, label, now, zone) for name, label in (("since", "From"), ("until", "To")))
    if since is None:
        raise UnexpectedShape("From: expected a time, such as 02:00, yesterday or 2026-01-31 14:03.")
    if until is not None and until < since:
        raise UnexpectedShape("To: expected a time after the first one.")
    return ReconcileRequest(since, until, dry_run=dry_run)


def _read_upload(form: Form) -> bytes:
    content = read_file(form)
    if not content.strip():
        raise UnexpectedShape("Choose a file.")
    if len(content) > _MAX_BYTES:
        command = f"receiver reconcile {form.get('source')} --file"
        raise UnexpectedShape(f"Expected at most {_MAX_BYTES >> 20} MiB. Use {command} for a larger file.")
    return content


def _read_export(form: Form) -> PackageExport:
    name = make_storable(form.get("file.name"), _MAX_NAME) or "export"
    return PackageExport(name, _read_upload(form))


def _read_history(form: Form) -> object:
    content = _read_upload(form)
    try:
        return load_large(content.removeprefix(BOM_UTF8), _HISTORY_DEPTH)
    except orjson.JSONDecodeError:
        raise UnexpectedShape("Expected a webhook history of Ship24 in JSON.") from None
