"""The commands `reconcile`: find what never came, and bring it in."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

import click
import orjson

from receiver import clock
from receiver.cli._errors import complain
from receiver.cli._import import make_import_executor
from receiver.cli._options import Text, TimeParam, as_json
from receiver.cli._output import advancing, show_heading, show_json, show_pairs, until_interrupted, zoned
from receiver.cli._remote import ask_service, audit_entry, do_here, read_here, reading, refused
from receiver.domain.reconciliation import ReconcileReport, ReconcileRequest, TrackerCount
from receiver.domain.rows import ReconciliationRow
from receiver.errors import ConfigurationError, ReceiverError, StorageUnavailable, UnexpectedShape, WriterTaken
from receiver.logs import setup
from receiver.maintenance.bring_in import DeliveryImport
from receiver.maintenance.reconcile.jobs import ReconcileStopped
from receiver.maintenance.reconcile.runs import ReconcileRuns
from receiver.maintenance.reconcile.ship24_api import Ship24Api
from receiver.settings import Settings, load
from receiver.storage import version
from receiver.storage.database import Database
from receiver.storage.queries import reconciliation as queries
from receiver.storage.transactions import Transactions

_STEP_SECONDS = 0.2
_POLL_SECONDS = 0.5
_FILE_SECONDS = 60.0
_PATH = "/ops/api/reconcile/ship24"
_NO_KEY = (
    "Set RECEIVER_SHIP24_API_KEY to the API key of Ship24. Without a key, download the webhook history of a tracker in "
    "Ship24's dashboard and use --file."
)

Interrupted = Callable[[], bool]


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
            row, report = None, _read_files(settings, [_read_file(file) for file in files], dry_run=dry_run)
        else:
            row = _reconcile(settings, request, interrupted)
            report = ReconcileReport.from_json(orjson.loads(row.report))
    if as_json:
        show_json({"dry_run": dry_run, "complete": row is None or row.ended_at is not None, **report.as_json()})
    else:
        show_report(report, dry_run=dry_run)
    if row is not None and row.ended_at is None:
        complain(f"{row.problem or 'Stopped.'} The same command continues after {row_position(row)}.")
        raise click.exceptions.Exit(130 if interrupted() else 1)
    if report.failed.number:
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


def row_position(row: ReconciliationRow) -> str:
    """Return how far a reconciliation came, for people."""
    examined = orjson.loads(row.report)["examined"]
    return f"{examined:,} trackers (begun {zoned(clock.iso(row.began_at))})"


def _count(finding: TrackerCount) -> str | None:
    return f"{finding.number:,}" if finding.number else None


def _reconcile(settings: Settings, request: ReconcileRequest, interrupted: Interrupted) -> ReconciliationRow:
    """Reconcile here, or let the service that holds the database do it; show the progress."""
    with reading(settings) as database:
        of_window = None if request.all_trackers else request.since
        total = len(request.trackers) or queries.count_candidates(database, of_window)
    with advancing("trackers", total) as advance:
        done = 0

        def show(row: ReconciliationRow) -> None:
            nonlocal done
            examined = orjson.loads(row.report)["examined"]
            advance(examined - done)
            done = examined

        try:
            with _open_runs(settings) as runs:
                return asyncio.run(_reconcile_here(settings, runs, request, interrupted, show))
        except WriterTaken as taken:
            return _reconcile_there(settings, request, interrupted, show, taken)


async def _reconcile_here(
    settings: Settings,
    runs: ReconcileRuns,
    request: ReconcileRequest,
    interrupted: Interrupted,
    show: Callable[[ReconciliationRow], None],
) -> ReconciliationRow:
    if settings.ship24_api_key is None:
        raise ConfigurationError(_NO_KEY)
    latest = await runs.begin(request, audit_entry)

    def note(row: ReconciliationRow) -> None:
        nonlocal latest
        latest = row
        show(row)

    def wait(seconds: float) -> None:
        while seconds > 0 and not interrupted():
            sleep(min(seconds, _STEP_SECONDS))
            seconds -= _STEP_SECONDS
        if interrupted():
            raise ReconcileStopped("Stopped.")

    api = Ship24Api(settings.ship24_api_url, settings.ship24_api_key, wait)
    try:
        return await runs.run(latest, api, audit_entry, interrupted, note)
    except ReceiverError as error:
        return latest._replace(problem=error.message)


def _reconcile_there(
    settings: Settings,
    request: ReconcileRequest,
    interrupted: Interrupted,
    show: Callable[[ReconciliationRow], None],
    taken: WriterTaken,
) -> ReconciliationRow:
    ask = partial(_ask, settings, taken)
    fields = request.as_json()
    for name in ("since", "until"):
        fields[name] = None if fields[name] is None else clock.iso(fields[name])
    row, goes_on = ask(fields)
    while goes_on:
        sleep(_POLL_SECONDS)
        row, goes_on = ask({"run": row.id, "cancel": interrupted()})
        show(row)
    return row


def _ask(settings: Settings, taken: WriterTaken, body: dict[str, Any]) -> tuple[ReconciliationRow, bool]:
    answer = _post(settings, _PATH, body, taken)
    goes_on = answer.pop("goes_on")
    texts = {name: orjson.dumps(answer[name]).decode() for name in ("request", "position", "report")}
    return ReconciliationRow(**answer | texts), goes_on


def _post(settings: Settings, path: str, body: dict[str, Any], taken: WriterTaken, seconds: float = 10.0) -> dict[str, Any]:
    status, answer = ask_service(settings, path, body, taken, seconds)
    if status == 200:
        found: dict[str, Any] = orjson.loads(answer)
        return found
    if status in {404, 409, 413, 422, 503}:
        raise StorageUnavailable(str(orjson.loads(answer)["error"]["message"]))
    raise refused(settings, status, answer)


@contextmanager
def _open_runs(settings: Settings) -> Iterator[ReconcileRuns]:
    """Give the runs of this process. Raises WriterTaken if the service holds the database."""
    with closing(Database(settings.database_url)) as database:
        database.take()
        version.check(database)
        database.close_readers()
        with closing(Transactions(database)) as transactions:
            do = do_here(make_import_executor(settings, database, transactions))
            deliveries = DeliveryImport(do, settings.sources(), settings.max_body_bytes)
            yield ReconcileRuns(do, read_here, database, deliveries)


def _read_file(file: Path) -> object:
    try:
        return orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UnexpectedShape(f"{file}: expected a webhook history of Ship24 in JSON ({error}).") from None


def _read_files(settings: Settings, roots: list[object], *, dry_run: bool) -> ReconcileReport:
    """Bring in the messages of downloaded histories, here or in the service."""
    try:
        with _open_runs(settings) as runs:
            return asyncio.run(runs.read_files(roots, audit_entry, dry_run=dry_run))
    except WriterTaken as taken:
        report = ReconcileReport()
        for root in roots:
            body = {"histories": [root], "dry_run": dry_run}
            report.add(ReconcileReport.from_json(_post(settings, f"{_PATH}/history", body, taken, _FILE_SECONDS)))
        return report
