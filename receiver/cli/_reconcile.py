"""A reconciliation as commands run it, here or in the service that holds the database, and its report."""

import base64
import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple

import click
import orjson

from receiver.cli._errors import complain, printable
from receiver.cli._import import OpenImport
from receiver.cli._output import brief, show_heading, show_json, show_pairs
from receiver.cli._remote import post, post_again, read_here
from receiver.clock import iso
from receiver.domain.labels import count, label
from receiver.domain.reconciliation import ReconcileReport, ReconcileRequest, TrackerCount
from receiver.domain.rows import ReconciliationRow
from receiver.errors import ReceiverError, UnexpectedShape, WriterTaken
from receiver.maintenance.reconcile.runs import ReconcileRuns
from receiver.maintenance.reconcile.shiipp import SHIIPP
from receiver.settings import Settings
from receiver.sources.shiipp_export import MAX_EXPORT_BYTES

_POLL_SECONDS = 0.5
_BEGIN_SECONDS = 60.0  # it may have files

Interrupted = Callable[[], bool]


class Run(NamedTuple):
    """A reconciliation, here or in the service: its findings, whether it came to its end, and otherwise why not."""

    id: str
    report: ReconcileReport
    is_finished: bool
    problem: str | None = None
    goes_on: bool = False


Show = Callable[[Run], None]


def make_runs(settings: Settings, opened: OpenImport) -> ReconcileRuns:
    """Return what runs reconciliations in this process."""
    return ReconcileRuns(opened.do, read_here, opened.database, opened.deliveries, settings.shiipp_new_package)


def count_up(advance: Callable[[int], object]) -> Show:
    """Return a function that shows the progress of a run."""
    done = 0

    def show(run: Run) -> None:
        nonlocal done
        advance(run.report.examined - done)
        done = run.report.examined

    return show


async def follow(
    row: ReconciliationRow, work: Callable[[Callable[[ReconciliationRow], None]], Awaitable[ReconciliationRow]], show: Show
) -> Run:
    """Do the work of a run in this process and show its progress; return it as far as it came."""
    latest = row

    def note(current: ReconciliationRow) -> None:
        nonlocal latest
        latest = current
        show(_make_run(current))

    try:
        return _make_run(await work(note))
    except ReceiverError as error:
        return _make_run(latest)._replace(problem=error.message)


def _make_run(row: ReconciliationRow) -> Run:
    report = ReconcileReport.from_json(orjson.loads(row.report))
    return Run(row.id, report, is_finished=row.ended_at is not None, problem=row.problem)


def watch_there(
    settings: Settings, path: str, body: dict[str, Any], interrupted: Interrupted, show: Show, taken: WriterTaken
) -> Run:
    """Let the service that holds the database do it, and show the progress."""

    def read(answer: dict[str, Any]) -> Run:
        report = ReconcileReport.from_json(answer["report"])
        return Run(answer["id"], report, answer["ended_at"] is not None, answer["problem"], answer["goes_on"])

    run = read(post(settings, path, body, taken, _BEGIN_SECONDS))
    while run.goes_on:
        sleep(_POLL_SECONDS)
        run = read(post_again(settings, path, {"run": run.id, "cancel": interrupted()}))
        show(run)
    return run


def read_export(file: Path) -> bytes:
    """Return the content of an export. Raises UnexpectedShape for one over the limit."""
    with file.open("rb") as content:
        found = content.read(MAX_EXPORT_BYTES + 1)
    if len(found) > MAX_EXPORT_BYTES:
        raise UnexpectedShape(f"{file}: expected at most {MAX_EXPORT_BYTES >> 20} MiB. Split the export.")
    return found


def encode_export(name: str, content: bytes) -> dict[str, str]:
    """Return an export as the API takes it."""
    return {"name": name, "content": base64.b64encode(gzip.compress(content, 6)).decode()}


def end(run: Run, source: str, advice: str, interrupted: Interrupted, *, dry_run: bool, as_json: bool) -> None:
    """Print the report of a run and end the command with its exit code. `advice` says how to go on after a stop."""
    if as_json:
        show_json({"dry_run": dry_run, "finished": run.is_finished, **run.report.as_json()})
    else:
        show_report(run.report, source, dry_run=dry_run)
    if not run.is_finished:
        complain(f"{run.problem or 'Stopped.'} {advice}")
        raise click.exceptions.Exit(130 if interrupted() else 1)
    if run.report.failed.number:
        raise click.exceptions.Exit(1)


def show_report(report: ReconcileReport, source: str, *, dry_run: bool) -> None:
    """Print a report on trackers of a source."""
    failed = "could not be read" if source == SHIIPP else "could not be looked at"
    found = f"{count(report.messages, 'message')}, {count(report.events, 'event')}"
    built = f", {report.built_events:,} of them built from results" if report.built_events else ""
    pairs = [
        ("looked at", f"{report.examined:,}"),
        ("complete", f"{report.complete:,}"),
        (
            "to repair" if dry_run else "repaired",
            f"{report.repaired.number:,}" + (f" ({found}{built})" if report.repaired.number and source != SHIIPP else ""),
        ),
        ("sent again", f"{report.resent.number:,} ({count(report.messages, 'message')})" if report.resent.number else None),
        ("delivered elsewhere", count(report.delivered_elsewhere, "message") if report.delivered_elsewhere else None),
        ("sent to", ", ".join(report.urls) if report.delivered_elsewhere else None),
        ("without history", _count(report.without_history)),
        ("only here", _count(report.only_here)),
        ("unknown to Ship24", _count(report.unknown)),
        ("manifests that differ", _count(report.differing)),
        (failed, _count(report.failed)),
    ]
    show_pairs(pairs)
    titles = "To repair" if dry_run else "Repaired", "Manifests that differ", "Only here", failed.capitalize()
    shown = report.repaired, report.differing, report.only_here if source == SHIIPP else TrackerCount(), report.failed
    for title, finding in zip(titles, shown, strict=True):
        if finding.number:
            more = finding.number - len(finding.examples)
            show_heading(title)
            for example in finding.examples:
                click.echo(printable(example))
            if more:
                click.echo(f"and {more:,} more")


def _count(finding: TrackerCount) -> str | None:
    return f"{finding.number:,}" if finding.number else None


def list_cells(row: ReconciliationRow) -> tuple[object, ...]:
    """Return the cells of a reconciliation in a list."""
    report = ReconcileReport.from_json(orjson.loads(row.report))
    request = ReconcileRequest.from_json(orjson.loads(row.request))
    state = "done" if row.ended_at is not None else "not complete"
    found = f"{report.repaired.number:,}" + (" (dry run)" if request.dry_run else "")
    began_at = brief(iso(row.began_at))
    return began_at, label(row.source), row.actor, f"{report.examined:,}", found, f"{report.failed.number:,}", state, row.id
