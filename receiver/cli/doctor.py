"""The command `doctor`: one line for each finding, exit code 1 if a check fails."""

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from receiver import clock
from receiver.cli._doctor_endpoints import Finding, check_sources, check_targets, try_server
from receiver.cli._doctor_service import check_assembly, check_loaded
from receiver.cli._options import OneOf, as_json
from receiver.cli._output import localise, show_heading, show_json, show_pairs, show_table, zoned
from receiver.cli._remote import explain_no_database, find_services
from receiver.domain.reading import read_json
from receiver.errors import ConfigurationError, InvalidJson, NoDatabase, ReceiverError, WriterTaken
from receiver.monitoring.downtime import read_downtimes
from receiver.monitoring.health import has_room
from receiver.monitoring.overview import read_overview
from receiver.project.files import read_named_text_file
from receiver.settings import Settings, find_secret_files, load
from receiver.sources import NAMES
from receiver.sources.shiipp import FIELDS, explain_unmapped, identify, map_item
from receiver.storage import queries, version
from receiver.storage.additions import explain_additions, find_additions
from receiver.storage.database import Database
from receiver.storage.postgresql import explain_new_collation
from receiver.storage.queries.reconciliation import list_reconciliations
from receiver.storage.stored_bodies import find_damaged_body

_MAX_SKEW_SECONDS = 2.0
_CHECK_SECONDS = 60.0
_CHECKED_BODIES = 1_000  # a check of a copy reads them all
_LOST_SPAN = timedelta(days=7)
_CONCERNS = {"refused", "unknown_path", "failed", "unreadable", "quarantined"}


@click.command()
@click.option("--sample", type=click.Path(path_type=Path), help="A file with a Shiipp body; only show how its fields are mapped.")
@click.option("--kind", type=OneOf(sorted(FIELDS)), help="Kind of the body in --sample.")
@as_json
def doctor(sample: Path | None, kind: str | None, *, as_json: bool) -> None:
    """Check configuration, database and server.

    Checks the clock, alarms, targets and address policies too. With --sample: show how a Shiipp body is mapped.
    """
    settings = load()
    if sample is not None:
        if kind is None:
            raise click.UsageError("--sample needs --kind: " + " or ".join(sorted(FIELDS)))
        _show_sample(settings, sample, kind, as_json=as_json)
        return
    findings = [Finding("ok", "configuration", "no errors"), *_check(settings)]
    if as_json:
        show_json([finding._asdict() for finding in findings])
    else:
        rows = [finding._replace(finding=localise(finding.finding)) for finding in findings]
        show_table(("", "subject", "finding"), rows, wrapped=["finding"])
    if any(finding.verdict == "fail" for finding in findings):
        raise click.exceptions.Exit(1)


def _check(settings: Settings) -> Iterator[Finding]:
    """Yield the findings. Without a readable database, skip the checks that need one."""
    services = find_services(settings)
    known, findings = check_assembly(settings, services)
    yield from findings
    yield from check_loaded(settings, services)
    database = Database(settings.database_url)
    try:
        found = list(_check_database(settings, database))
        yield from found
        readable = all(finding.subject != "database" or finding.verdict == "ok" for finding in found)
        if readable:
            yield from _check_clock(database)
            yield from _check_alarms(database)
            yield from _check_concerns(settings, database)
            yield from _check_undecidable(database)
            yield from _check_downtime(database, settings.active_sources())
            yield from () if known is None else check_targets(settings, database, known)
        yield from check_sources(settings, database if readable else None)
    except ReceiverError as error:
        yield Finding("fail", "database", error.message)
    finally:
        database.close()
    yield from try_server(settings, services)


def _check_database(settings: Settings, database: Database) -> Iterator[Finding]:
    try:
        version.check(database)
        yield Finding("ok", "database", f"{database}, tables current, {database.size_bytes() / 2**20:.1f} MiB")
        yield _check_durability(database)
        yield from _check_tables(database)
        if database.path is not None:
            yield _check_integrity(database)
            yield from _check_permissions(database.path)
    except NoDatabase as error:
        yield Finding("fail", "database", explain_no_database(error, settings).message)
    except ReceiverError as error:
        yield Finding("fail", "database", error.message)
    finally:
        database.close()
    if database.path is not None and database.path.parent.exists() and not has_room(database):
        yield Finding("fail", "disk", "nearly full")


def _check_durability(database: Database) -> Finding:
    try:
        database.take()
    except WriterTaken:
        return Finding("ok", "durability", "the running service syncs every commit (WAL, synchronous=FULL)")
    found = database.durability()
    shown = ", ".join(f"{name}={value}" for name, value in found.items() if name != "version")
    weak = found.get("fsync") == "off" or found.get("synchronous_commit") == "off" or found.get("full_page_writes") == "off"
    return Finding("fail" if weak else "ok", "durability", f"{found['version']}: {shown}")


def _check_tables(database: Database) -> Iterator[Finding]:
    """Yield a finding if the tables have triggers, constraints or columns of somebody, or sort texts by new rules."""
    with database.read() as connection:
        additions, collation = find_additions(connection), explain_new_collation(connection)
    if additions:
        yield Finding("warn", "tables", explain_additions(additions))
    if collation is not None:
        yield Finding("fail", "collation", collation)


def _check_integrity(database: Database) -> Finding:
    """Let SQLite check its file, for a limited time, because the WAL of the service grows meanwhile; read the newest bodies."""
    size = f"{database.size_bytes() / 2**20:.0f} MiB"
    if sys.stderr.isatty():
        click.echo(f"Checking {size} …", err=True)
    try:
        damage = database.find_damage(_CHECK_SECONDS)
    except TimeoutError:
        return Finding("warn", "integrity", f"unknown: checking {size} takes longer than {_CHECK_SECONDS:g} s; check a copy")
    if damage is None:
        with database.read() as connection:
            damage = find_damaged_body(connection, lambda: False, _CHECKED_BODIES)
    if damage is not None:
        return Finding("fail", "integrity", f"the file is damaged; restore a copy: {damage}")
    return Finding("ok", "integrity", f"quick_check found no damage in {size}")


def _check_permissions(database: Path) -> Iterator[Finding]:
    ours = [file for file in find_secret_files() if file.exists() and file.stat().st_uid == os.geteuid()]
    for file in (*ours, database, Path(f"{database}-wal"), Path(f"{database}-shm")):
        if file.exists() and file.stat().st_mode & 0o077:
            yield Finding("warn", "permissions", f"other users can read {file}; run `chmod 600 {file}`")


def _check_clock(database: Database) -> Iterator[Finding]:
    newest = queries.list_deliveries(database, queries.DeliveryFilter(), NAMES, limit=1).items
    skew = database.clock_skew_seconds()
    now = clock.iso(clock.to_micros(clock.now()))
    if newest and newest[0]["received_at"] > now:
        yield Finding("fail", "clock", f"{now} is before the last delivery: the clock was set back")
    elif skew > _MAX_SKEW_SECONDS:
        yield Finding("fail", "clock", f"differs by {skew:.1f} s from the clock of the database")
    else:
        yield Finding("ok", "clock", now)


def _check_alarms(database: Database) -> Iterator[Finding]:
    for alarm in queries.list_alarms(database, only_on=True):
        subject = f"alarm {alarm['name']}" + (f" {alarm['subject']}" if alarm["subject"] else "")
        yield Finding("warn", subject, f"since {zoned(alarm['began_at'])}: {alarm['message']}")


def _check_concerns(settings: Settings, database: Database) -> Iterator[Finding]:
    """Yield what needs attention, apart from that which other checks find."""
    for concern in read_overview(database, settings.active_sources(), clock.now()).concerns:
        if concern.kind in _CONCERNS:
            until = f" {zoned(concern.at)}" if concern.at else ""
            verdict = "ok" if concern.weight == "note" else "warn"
            yield Finding(
                verdict,
                f"{concern.kind.replace('_', ' ')} {concern.subject}".strip(),
                f"{concern.title}. {concern.text}{until}",
            )


def _check_undecidable(database: Database) -> Iterator[Finding]:
    """Yield a finding for each source with messages that this service failed to process, with the command that replays them."""
    for source, moments in sorted(queries.find_undecidable(database).items()):
        command = f"receiver deliveries replay --source {source} --since {clock.iso(min(moments))}"
        failed = f"this service failed to process {len(moments)} of its messages and deliveries"
        yield Finding("warn", f"{source} undecidable", f"{failed}; after an update run `{command}`")


def _check_downtime(database: Database, active_sources: Sequence[str]) -> Iterator[Finding]:
    """Yield the last downtime of the week, unless a reconciliation has begun and ended since then.

    After a restore this is the time since the copy was made: it has no later sign of life.
    """
    now = clock.now()
    found = read_downtimes(database, clock.to_micros(now - _LOST_SPAN), clock.to_micros(now))
    last = next((each for each in found if each.ended_at is not None and each.command(active_sources) is not None), None)
    if last is None or last.ended_at is None:
        return
    source = last.source_to_reconcile(active_sources)
    of_source = [row for row in list_reconciliations(database) if row.source == source]
    if not any(row.ended_at is not None and row.began_at >= last.ended_at for row in of_source):
        until = f"{zoned(clock.iso(last.began_at))} to {zoned(clock.iso(last.ended_at))}"
        yield Finding("warn", "downtime", f"deliveries may be lost from {until}; run `{last.command(active_sources)}`")


def _show_sample(settings: Settings, file: Path, kind: str, *, as_json: bool) -> None:
    """Print the fields and the identity of each item in a body. Exit with 1 if an item has no identity."""
    paths = settings.shiipp_new_package if kind == "new-package" else settings.shiipp_manifest_status
    root = _read_body(file)
    found = [_describe(kind, paths, item) for item in (root if isinstance(root, list) else [root])]
    if as_json:
        show_json({"items": found})
    else:
        for number, item in enumerate(found, 1):
            show_heading(f"Message {number}")
            ours = [(name, item[name]) for name in ("tracker", "message", "rule", "problem")]
            show_pairs([*ours, *item["fields"].items()])
    if any(item["problem"] for item in found):
        raise click.exceptions.Exit(1)


def _read_body(file: Path) -> Any:
    """Return the body in a file. Raises ConfigurationError that names the file."""
    text = read_named_text_file(file)
    try:
        return read_json(text.encode(), exact=True)
    except InvalidJson as error:
        raise ConfigurationError(f"{file}: {error.message}") from None


def _describe(kind: str, paths: Any, item: object) -> dict[str, Any]:
    if not isinstance(item, dict):
        return {"tracker": None, "message": None, "rule": None, "problem": "not an object", "fields": {}}
    mapped = map_item(kind, paths, item)
    identity = identify(kind, mapped)
    if identity is None:
        problem = explain_unmapped(kind, paths, mapped)
        return {"tracker": None, "message": None, "rule": None, "problem": problem, "fields": dict(mapped.values)}
    message = identity.message_id or "assigned on arrival"
    return {
        "tracker": identity.tracker_id,
        "message": message,
        "rule": identity.rule,
        "problem": None,
        "fields": dict(mapped.values),
    }
