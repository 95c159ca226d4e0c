"""The commands `reconcile`: find what never came, and bring it in."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple

import click
import orjson

from receiver import clock
from receiver.cli._errors import complain
from receiver.cli._import import OpenImport, open_import
from receiver.cli._options import Text, TimeParam, as_json
from receiver.cli._output import advancing, show_heading, show_json, show_pairs, until_interrupted
from receiver.cli._remote import audit_entry, post, read_here, reading
from receiver.domain.reconciliation import ReconcileReport, ReconcileRequest, TrackerCount
from receiver.domain.rows import ReconciliationRow
from receiver.errors import ConfigurationError, ReceiverError, UnexpectedShape, WriterTaken
from receiver.logs import setup
from receiver.maintenance.reconcile.runs import ReconcileRuns
from receiver.maintenance.reconcile.ship24_api import ReconcileStopped, Ship24Api
from receiver.settings import Settings, load
from receiver.storage.queries import reconciliation as queries

_STEP_SECONDS = 0.2
_POLL_SECONDS = 0.5
_FILE_SECONDS = 60.0
_PATH = "/ops/api/reconcile/ship24"
_NO_KEY = (
    "Set RECEIVER_SHIP24_API_KEY to the API key of Ship24. Without a key, download the webhook history of a tracker in "
    "Ship24's dashboard and use --file."
)

Interrupted = Callable[[], bool]


class _Run(NamedTuple):
    """A reconciliation, here or in the service: its findings, whether it came to its end, and otherwise why not."""

    id: str
    report: ReconcileReport
    is_finished: bool
    problem: str | None = None
    goes_on: bool = False


Show = Callable[[_Run], None]


@click.group()
def reconcile() -> None:
    """Find what never came at the vendor, and bring it in."""


@reconcile.command()
@click.option("--since", type=TimeParam(), help="Trackers that may have lost something since then.")
@click.option("--until", type=TimeParam(), help="With --since: the end of the time in which something was lost.")
@click.option("--tracker", "trackers", type=Text(), multiple=True, help="This tracker, by Ship24's id. Can be repeated.")
@click.option("--all", "all_trackers", is_flag=True, help="All trackers, also those that only Ship24 knows.")
@click.option(
    "--file", "files", type=click.Path(path_type=Path, dir_okay=False), multiple=True, help="A downloaded webhook history."
)
@click.option("--resend", is_flag=True, help="Let Ship24 send the messages again, instead of bringing them in.")
@click.option("--dry-run", is_flag=True, help="Only show what is missing.")
@as_json
def ship24(
    *,
    since: int | None,
    until: int | None,
    trackers: tuple[str, ...],
    all_trackers: bool,
    files: tuple[Path, ...],
    resend: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Compare with Ship24, and bring in what is missing.

    The events of each tracker are asked for, and its webhook history where some are missing. Ctrl-C stops; the same command
    continues. Downloaded histories (--file) need no API key.
    """
    request = ReconcileRequest(since, until, tuple(sorted(set(trackers))), all_trackers, resend, dry_run)
    _check(request, files)
    settings = load()
    setup.configure(settings.log_format, settings.secrets())  # the vendor's failures are logged, with the ids of the requests
    with until_interrupted() as interrupted:
        if files:
            roots = [_read_file(file) for file in files]
            run = _Run("", _read_files(settings, roots, dry_run=dry_run), is_finished=True)
        else:
            run = _reconcile(settings, request, interrupted)
    if as_json:
        show_json({"dry_run": dry_run, "finished": run.is_finished, **run.report.as_json()})
    else:
        show_report(run.report, dry_run=dry_run)
    if not run.is_finished:
        complain(f"{run.problem or 'Stopped.'} The same command continues after {run.report.examined:,} trackers.")
        raise click.exceptions.Exit(130 if interrupted() else 1)
    if run.report.failed.number:
        raise click.exceptions.Exit(1)


def _check(request: ReconcileRequest, files: Sequence[Path]) -> None:
    chosen = [bool(files), bool(request.trackers), request.all_trackers, request.since is not None]
    if sum(chosen) != 1:
        raise click.UsageError("Give one of --since, --tracker, --all and --file.")
    if request.until is not None and (request.since is None or request.until < request.since):
        raise click.UsageError("--until: expected a time after --since.")
    if files and request.resend:
        raise click.UsageError("--resend needs the API; it cannot be combined with --file.")


def show_report(report: ReconcileReport, *, dry_run: bool) -> None:
    """Print a report."""
    found = f"{report.messages:,} messages, {report.events:,} events"
    built = f", {report.built_events:,} of them built from results" if report.built_events else ""
    pairs = [
        ("looked at", f"{report.examined:,}"),
        ("complete", f"{report.complete:,}"),
        (
            "to repair" if dry_run else "repaired",
            f"{report.repaired.number:,}" + (f" ({found}{built})" if report.repaired.number else ""),
        ),
        ("sent again", f"{report.resent.number:,} ({report.messages:,} messages)" if report.resent.number else None),
        ("delivered elsewhere", f"{report.delivered_elsewhere:,} messages" if report.delivered_elsewhere else None),
        ("sent to", ", ".join(report.urls) if report.delivered_elsewhere else None),
        ("without history", _count(report.without_history)),
        ("only here", _count(report.only_here)),
        ("unknown to Ship24", _count(report.unknown)),
        ("could not be looked at", _count(report.failed)),
    ]
    show_pairs(pairs)
    for title, finding in (("To repair" if dry_run else "Repaired", report.repaired), ("Could not be looked at", report.failed)):
        if finding.number:
            more = finding.number - len(finding.examples)
            show_heading(title)
            for tracker_id in finding.examples:
                click.echo(tracker_id)
            if more:
                click.echo(f"and {more:,} more")


def _count(finding: TrackerCount) -> str | None:
    return f"{finding.number:,}" if finding.number else None


def _reconcile(settings: Settings, request: ReconcileRequest, interrupted: Interrupted) -> _Run:
    """Reconcile here, or let the service that holds the database do it; show the progress."""
    with reading(settings) as database:
        of_window = None if request.all_trackers else request.since
        total = len(request.trackers) or queries.count_candidates(database, of_window)
    with advancing("trackers", total) as advance:
        done = 0

        def show(run: _Run) -> None:
            nonlocal done
            advance(run.report.examined - done)
            done = run.report.examined

        try:
            with open_import(settings) as opened:
                return asyncio.run(_reconcile_here(settings, opened, request, interrupted, show))
        except WriterTaken as taken:
            return _reconcile_there(settings, request, interrupted, show, taken)


async def _reconcile_here(
    settings: Settings, opened: OpenImport, request: ReconcileRequest, interrupted: Interrupted, show: Show
) -> _Run:
    if settings.ship24_api_key is None:
        raise ConfigurationError(_NO_KEY)
    runs = ReconcileRuns(opened.do, read_here, opened.database, opened.deliveries)
    latest = await runs.begin(request, audit_entry)

    def note(row: ReconciliationRow) -> None:
        nonlocal latest
        latest = row
        show(_make_run(row))

    def wait(seconds: float) -> None:
        while seconds > 0 and not interrupted():
            sleep(min(seconds, _STEP_SECONDS))
            seconds -= _STEP_SECONDS
        if interrupted():
            raise ReconcileStopped("Stopped.")

    api = Ship24Api(settings.ship24_api_url, settings.ship24_api_key, wait)
    try:
        return _make_run(await runs.run(latest, api, audit_entry, interrupted, note))
    except ReceiverError as error:
        return _make_run(latest)._replace(problem=error.message)


def _make_run(row: ReconciliationRow) -> _Run:
    report = ReconcileReport.from_json(orjson.loads(row.report))
    return _Run(row.id, report, is_finished=row.ended_at is not None, problem=row.problem)


def _reconcile_there(
    settings: Settings, request: ReconcileRequest, interrupted: Interrupted, show: Show, taken: WriterTaken
) -> _Run:
    def ask(body: dict[str, Any]) -> _Run:
        answer = post(settings, _PATH, body, taken)
        report = ReconcileReport.from_json(answer["report"])
        return _Run(answer["id"], report, answer["ended_at"] is not None, answer["problem"], answer["goes_on"])

    fields = request.as_json()
    for name in ("since", "until"):
        fields[name] = None if fields[name] is None else clock.iso(fields[name])
    run = ask(fields)
    while run.goes_on:
        sleep(_POLL_SECONDS)
        run = ask({"run": run.id, "cancel": interrupted()})
        show(run)
    return run


def _read_file(file: Path) -> object:
    try:
        return orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UnexpectedShape(f"{file}: expected a webhook history of Ship24 in JSON ({error}).") from None


def _read_files(settings: Settings, roots: list[object], *, dry_run: bool) -> ReconcileReport:
    """Bring in the messages of downloaded histories, here or in the service."""
    try:
        with open_import(settings) as opened:
            runs = ReconcileRuns(opened.do, read_here, opened.database, opened.deliveries)
            return asyncio.run(runs.read_files(roots, audit_entry, dry_run=dry_run))
    except WriterTaken as taken:
        report = ReconcileReport()
        for root in roots:
            body = {"histories": [root], "dry_run": dry_run}
            report.add(ReconcileReport.from_json(post(settings, f"{_PATH}/history", body, taken, _FILE_SECONDS)))
        return report
