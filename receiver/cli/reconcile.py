"""The commands `reconcile`: find what never came, and bring it in."""

import asyncio
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path
from time import sleep

import click
import orjson

from receiver import clock
from receiver.cli._import import OpenImport, open_import
from receiver.cli._options import Text, TimeParam, as_json
from receiver.cli._output import advancing, in_zone, show_json, show_table, until_interrupted
from receiver.cli._reading import reading
from receiver.cli._reconcile import (
    Interrupted,
    Run,
    Show,
    count_up,
    encode_export,
    end,
    follow,
    list_cells,
    make_runs,
    read_export,
    show_report,
    watch_there,
)
from receiver.cli._remote import audit_entry, post
from receiver.domain.reconciliation import MAX_RECONCILIATIONS, ReconcileReport, ReconcileRequest, describe_run
from receiver.domain.storable import make_storable
from receiver.domain.workbooks import is_workbook
from receiver.errors import ConfigurationError, UnexpectedShape, WriterTaken
from receiver.logs import setup
from receiver.maintenance.reconcile.ship24_api import ReconcileStopped, Ship24Api
from receiver.settings import Settings, load
from receiver.sources.shiipp_export import PackageExport
from receiver.storage.queries import reconciliation as queries

_STEP_SECONDS = 0.2
_FILE_SECONDS = 60.0
_PATH = "/ops/api/reconcile/ship24"
_NO_KEY = (
    "Set RECEIVER_SHIP24_API_KEY to the API key of Ship24. Without a key, download the webhook history of a tracker in "
    "Ship24's dashboard and use --file."
)


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
            run = Run("", _read_files(settings, roots, dry_run=dry_run), is_finished=True)
        else:
            run = _reconcile(settings, request, interrupted)
    advice = f"The same command continues after {run.report.examined:,} trackers."
    end(run, "ship24", advice, interrupted, dry_run=dry_run, as_json=as_json)


@reconcile.command()
@click.option(
    "--file",
    "files",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    required=True,
    help="An export of the Packages page, CSV or XLSX. Can be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Only show what is missing.")
@as_json
def shiipp(*, files: tuple[Path, ...], dry_run: bool, as_json: bool) -> None:
    """Compare with exports of Shiipp, and bring in what is missing.

    Packages that never came are brought in. Manifests with another status than here are listed. Give all parts of an export at
    once. A row that cannot be read is reported by its line, and the others are compared.
    """
    settings = load()
    contents = [(make_storable(file.name), read_export(file)) for file in files]
    exports = [PackageExport(name, content) for name, content in contents]
    with until_interrupted() as interrupted, advancing("rows", _count_lines(contents)) as advance:
        show = count_up(advance)
        try:
            with open_import(settings) as opened:
                run = asyncio.run(_compare_here(settings, opened, exports, interrupted, show, dry_run=dry_run))
        except WriterTaken as taken:
            body = {"files": [encode_export(*each) for each in contents], "dry_run": dry_run}
            run = watch_there(settings, "/ops/api/reconcile/shiipp", body, interrupted, show, taken)
    advice = "The same command finds the rest: what was brought in is known."
    end(run, "shiipp", advice, interrupted, dry_run=dry_run, as_json=as_json)


def _count_lines(contents: Sequence[tuple[str, bytes]]) -> int:
    """Return the number of lines in CSV files; 0 if there is a workbook."""
    return 0 if any(is_workbook(content) for _, content in contents) else sum(content.count(b"\n") for _, content in contents)


async def _compare_here(
    settings: Settings,
    opened: OpenImport,
    exports: Sequence[PackageExport],
    interrupted: Interrupted,
    show: Show,
    *,
    dry_run: bool,
) -> Run:
    runs = make_runs(settings, opened)
    row = await runs.begin_exports(exports, audit_entry, dry_run=dry_run)
    return await follow(row, lambda note: runs.run_exports(row, exports, audit_entry, interrupted, note), show)


@reconcile.command("list")
@as_json
def list_runs(*, as_json: bool) -> None:
    """List the last reconciliations, newest first."""
    with reading() as database:
        found = queries.list_reconciliations(database, MAX_RECONCILIATIONS)
    if as_json:
        show_json({"items": [describe_run(row) for row in found], "next": None})
        return
    columns = in_zone("begun"), "source", "by", "looked at", "found", "not read", "state", "ID"
    show_table(columns, map(list_cells, found))


@reconcile.command()
@click.argument("run_id", metavar="ID", type=Text())
@as_json
def show(run_id: str, *, as_json: bool) -> None:
    """Show all that a reconciliation found."""
    with reading() as database:
        row = queries.find_reconciliation(database, run_id)
    shown = describe_run(row)
    if as_json:
        show_json(shown)
        return
    show_report(ReconcileReport.from_json(shown["report"]), row.source, dry_run=shown["request"]["dry_run"])


def _check(request: ReconcileRequest, files: Sequence[Path]) -> None:
    chosen = [bool(files), bool(request.trackers), request.all_trackers, request.since is not None]
    if sum(chosen) != 1:
        raise click.UsageError("Give one of --since, --tracker, --all and --file.")
    if request.until is not None and (request.since is None or request.until < request.since):
        raise click.UsageError("--until: expected a time after --since.")
    if files and request.resend:
        raise click.UsageError("--resend needs the API; it cannot be combined with --file.")


def _reconcile(settings: Settings, request: ReconcileRequest, interrupted: Interrupted) -> Run:
    """Reconcile here, or let the service that holds the database do it; show the progress."""
    with reading(settings) as database:
        of_window = None if request.all_trackers else request.since
        total = len(request.trackers) or queries.count_candidates(database, of_window)
    with advancing("trackers", total) as advance:
        show = count_up(advance)
        try:
            with open_import(settings) as opened:
                return asyncio.run(_reconcile_here(settings, opened, request, interrupted, show))
        except WriterTaken as taken:
            return _reconcile_there(settings, request, interrupted, show, taken)


async def _reconcile_here(
    settings: Settings, opened: OpenImport, request: ReconcileRequest, interrupted: Interrupted, show: Show
) -> Run:
    if settings.ship24_api_key is None:
        raise ConfigurationError(_NO_KEY)
    runs = make_runs(settings, opened)
    row = await runs.begin(request, audit_entry)

    def wait(seconds: float) -> None:
        while seconds > 0 and not interrupted():
            sleep(min(seconds, _STEP_SECONDS))
            seconds -= _STEP_SECONDS
        if interrupted():
            raise ReconcileStopped("Stopped.")

    api = Ship24Api(settings.ship24_api_url, settings.ship24_api_key, wait)
    return await follow(row, lambda note: runs.run(row, api, audit_entry, interrupted, note), show)


def _reconcile_there(
    settings: Settings, request: ReconcileRequest, interrupted: Interrupted, show: Show, taken: WriterTaken
) -> Run:
    fields = request.as_json()
    del fields["files"]
    for name in ("since", "until"):
        fields[name] = None if fields[name] is None else clock.iso(fields[name])
    return watch_there(settings, _PATH, fields, interrupted, show, taken)


def _read_file(file: Path) -> object:
    try:
        return orjson.loads(file.read_bytes().removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise UnexpectedShape(f"{file}: expected a webhook history of Ship24 in JSON ({error}).") from None


def _read_files(settings: Settings, roots: list[object], *, dry_run: bool) -> ReconcileReport:
    """Bring in the messages of downloaded histories, here or in the service."""
    try:
        with open_import(settings) as opened:
            runs = make_runs(settings, opened)
            return asyncio.run(runs.read_files(roots, audit_entry, dry_run=dry_run))
    except WriterTaken as taken:
        report = ReconcileReport()
        for root in roots:
            body = {"histories": [root], "dry_run": dry_run}
            report.add(ReconcileReport.from_json(post(settings, f"{_PATH}/history", body, taken, _FILE_SECONDS)))
        return report
