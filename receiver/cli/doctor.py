"""Is everything in order? One line a finding; exit code 1 if one of them is not."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import urllib3

from receiver import clock
from receiver.access import probe
from receiver.access.addresses import is_listed, read_address
from receiver.access.bearer import AccessPolicy, AddressPolicy
from receiver.cli.missing import explain_no_database
from receiver.cli.options import OneOf
from receiver.cli.output import brief, show_json, show_table
from receiver.cli.remote import base_url
from receiver.cli.sample import show_sample
from receiver.cli.target_checks import check_targets
from receiver.errors import NoDatabase, ReceiverError, WriterTaken
from receiver.monitoring.health import has_room
from receiver.settings import Settings, load
from receiver.sources import NAMES, Source
from receiver.sources.shiipp import FIELDS
from receiver.storage import queries, version
from receiver.storage.database import Database

_MIN_TOKEN_LETTERS = 16
_MAX_SKEW_SECONDS = 2.0
_CHECK_SECONDS = 60.0
_LOOPBACK = read_address("127.0.0.1")


class Finding(NamedTuple):
    """One thing that was looked at: `verdict` is `ok`, `warn` or `fail`."""

    verdict: str
    subject: str
    finding: str


@click.command()
@click.option("--sample", type=click.Path(path_type=Path), help="Only show how this body is mapped.")
@click.option("--kind", type=OneOf(sorted(FIELDS)), help="Of the sample.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(sample: Path | None, kind: str | None, *, as_json: bool) -> None:
    """Check configuration, database and server.

    Also clock, alarms, targets and address policies. With --sample: show how a body from Shiipp is mapped.
    """
    settings = load()
    if sample is not None:
        if kind is None:
            raise click.UsageError("--sample needs --kind: " + " or ".join(sorted(FIELDS)))
        show_sample(settings, sample, kind, as_json=as_json)
        return
    findings = [Finding("ok", "configuration", "readable, every name known"), *_look(settings)]
    if as_json:
        show_json([finding._asdict() for finding in findings])
    else:
        show_table(("", "what", "finding"), findings, wrapped=["finding"])
    if any(finding.verdict == "fail" for finding in findings):
        raise click.exceptions.Exit(1)


def _look(settings: Settings) -> Iterator[Finding]:
    """Give the findings; of a database that cannot be read as it should be nothing more is asked."""
    database = Database(settings.database_url)
    try:
        found = list(_look_at_database(settings, database))
        yield from found
        readable = all(finding.subject != "database" or finding.verdict == "ok" for finding in found)
        if readable:
            yield from _look_at_clock(database)
            yield from _look_at_alarms(database)
            yield from _look_at_undecidable(database)
            yield from (Finding(*found) for found in check_targets(settings, database))
        yield from _look_at_sources(settings, database if readable else None)
    except ReceiverError as error:
        yield Finding("fail", "database", error.message)
    finally:
        database.close()
    yield from _try_server(settings)


def _look_at_database(settings: Settings, database: Database) -> Iterator[Finding]:
    try:
        version.check(database)
        yield Finding("ok", "database", f"{database}, tables current, {database.size_bytes() / 2**20:.1f} MiB")
        yield _look_at_durability(database)
        if database.path is not None:
            yield _look_for_damage(database)
            yield from _look_at_permissions(database.path)
    except NoDatabase as error:
        yield Finding("fail", "database", explain_no_database(error, settings).message)
    except ReceiverError as error:
        yield Finding("fail", "database", error.message)
    finally:
        database.close()
    if database.path is not None and database.path.parent.exists() and not has_room(database):
        yield Finding("fail", "disk", "nearly full")


def _look_at_durability(database: Database) -> Finding:
    try:
        database.take()
    except WriterTaken:
        return Finding("ok", "durability", "held by the running service, which syncs every commit (WAL, synchronous=FULL)")
    found = database.durability()
    shown = ", ".join(f"{name}={value}" for name, value in found.items() if name != "version")
    weak = found.get("fsync") == "off" or found.get("synchronous_commit") == "off" or found.get("full_page_writes") == "off"
    return Finding("fail" if weak else "ok", "durability", f"{found['version']}: {shown}")


def _look_for_damage(database: Database) -> Finding:
    """Let SQLite check its file, for a bounded time: while it reads, the write-ahead log of the service grows."""
    size = f"{database.size_bytes() / 2**20:.0f} MiB"
    if sys.stderr.isatty():
        click.echo(f"checking {size} …", err=True)
    try:
        damage = database.find_damage(_CHECK_SECONDS)
    except TimeoutError:
        return Finding("warn", "integrity", f"unknown: {size} were not checked within {_CHECK_SECONDS:g} s; check a copy")
    if damage is not None:
        return Finding("fail", "integrity", f"the file is damaged, restore a copy: {damage}")
    return Finding("ok", "integrity", f"quick_check found nothing wrong in {size}")


def _look_at_permissions(database: Path) -> Iterator[Finding]:
    for file in (Path(".env"), database, Path(f"{database}-wal"), Path(f"{database}-shm")):
        if file.exists() and file.stat().st_mode & 0o077:
            yield Finding("warn", "permissions", f"other users may open {file}: run `chmod 600 {file}`")


def _look_at_clock(database: Database) -> Iterator[Finding]:
    newest = queries.list_deliveries(database, queries.DeliveryFilter(), NAMES, limit=1).items
    skew = database.clock_skew_seconds()
    now = clock.iso(clock.to_micros(clock.now()))
    if newest and newest[0]["received_at"] > now:
        yield Finding("fail", "clock", f"it is {now} here, before the last call on record: the clock went back")
    elif skew > _MAX_SKEW_SECONDS:
        yield Finding("fail", "clock", f"{skew:.1f} s away from the database's")
    else:
        yield Finding("ok", "clock", now)


def _look_at_alarms(database: Database) -> Iterator[Finding]:
    for alarm in queries.list_alarms(database, only_on=True):
        subject = f"alarm {alarm['name']}" + (f" {alarm['subject']}" if alarm["subject"] else "")
        yield Finding("warn", subject, f"since {brief(alarm['began_at'])}: {alarm['message']}")


def _look_at_undecidable(database: Database) -> Iterator[Finding]:
    """Say what waits for a replay because our own code failed on it."""
    for source, moments in sorted(queries.find_undecidable(database).items()):
        command = f"receiver deliveries replay --source {source} --since {clock.iso(min(moments))}"
        waiting = f"{len(moments)} of its messages and deliveries wait for a fix of this service"
        yield Finding("warn", f"{source} undecidable", f"{waiting}: update it, then run `{command}`")


def _look_at_sources(settings: Settings, database: Database | None) -> Iterator[Finding]:
    windows = {} if database is None else queries.setup_windows(database)
    for name in NAMES:
        access_policy = settings.access_policy(name)
        if not access_policy.tokens:
            yield Finding("warn", name, f"off: RECEIVER_{name.upper()}_TOKENS is not set")
            continue
        if database is not None:
            with database.read() as connection:
                last = queries.read_last_call(connection, name)
            yield Finding("ok", f"{name} calls", f"last call {brief(last)}" if last else "never called")
        yield from _look_at_tokens(name, access_policy, database)
        yield _look_at_addresses(name, access_policy)
        if windows.get(name, 0) > clock.to_micros(clock.now()):
            yield Finding("warn", f"{name} window", f"any address may call until {clock.iso(windows[name])}")


def _look_at_tokens(source: str, access_policy: AccessPolicy, database: Database | None) -> Iterator[Finding]:
    uses = {} if database is None else queries.token_uses(database)
    for token in access_policy.tokens:
        used = uses.get((source, token.name))
        short = len(token.reveal()) < _MIN_TOKEN_LETTERS
        when = f"last used {clock.iso(used)[:16]}Z" if used else "use unknown" if database is None else "never used"
        text = f"{token.name}, {when}" + (": short, could be guessed" if short else "")
        yield Finding("warn" if short else "ok", f"{source} token", text)


def _look_at_addresses(source: str, access_policy: AccessPolicy) -> Finding:
    listed = ", ".join(str(network).removesuffix("/32").removesuffix("/128") for network in access_policy.networks) or "none"
    open_policy = access_policy.policy is not AddressPolicy.ENFORCE
    near = is_listed(_LOOPBACK, access_policy.networks)
    remark = "; 127.0.0.1 is on the allow list. Remove it if a reverse proxy runs on this machine" if near else ""
    verdict = "warn" if near or (open_policy and access_policy.networks) else "ok"
    return Finding(verdict, f"{source} addresses", f"{access_policy.policy}: {listed}{remark}")


def _try_server(settings: Settings) -> Iterator[Finding]:
    for source in settings.sources():
        url = f"{base_url(settings)}{source.path}"
        try:
            yield from _try_path(settings, source, url)
        except urllib3.exceptions.HTTPError as error:
            yield Finding("fail", f"HEAD {source.path}", f"no answer at {url} ({type(error).__name__})")


def _try_path(settings: Settings, source: Source, url: str) -> Iterator[Finding]:
    """Try HEAD, then POST. Only a probe (`receiver/access/probe.py`) is posted: what the service would record is not."""
    headers = _make_headers(settings, source)
    head = urllib3.request("HEAD", url, headers=headers, retries=False, timeout=5.0)
    yield Finding("ok" if head.status == 200 else "fail", f"HEAD {source.path}", f"{head.status}, expected 200")
    if not settings.access_policy(source.name).tokens:
        return
    if not settings.ops_tokens:
        yield Finding(
            "warn", f"POST {source.path}", "not tried: it needs RECEIVER_OPS_TOKENS, or it would be recorded as a delivery"
        )
    elif head.headers.get(probe.HEADER) != probe.ACCEPTED:
        other = "the running service has other tokens than these settings, or is an older version. Restart it"
        yield Finding("warn", f"POST {source.path}", f"not tried: {other}")
    else:
        answer = urllib3.request("POST", url, body=source.nothing, headers=headers, retries=False, timeout=15.0)
        yield Finding(
            "ok" if answer.status in {200, 403} else "fail", f"POST {source.path}", _explain_answer(answer.status, source)
        )


def _make_headers(settings: Settings, source: Source) -> dict[str, str]:
    headers = {"user-agent": "receiver doctor"}
    tokens = settings.access_policy(source.name).tokens
    if tokens and settings.ops_tokens:
        headers["authorization"] = f"Bearer {tokens[0].reveal()}"
        sent = headers["authorization"].encode()
        headers[probe.HEADER] = probe.sign_probe(settings.ops_tokens[0], source.path, [sent], clock.now())
    return headers


def _explain_answer(status: int, source: Source) -> str:
    """Return what an answer to a probe means, and what to do."""
    setting = f"RECEIVER_{source.name.upper()}"
    if status == 403:
        return (
            f"403: the token is right, but this address is not in {setting}_ALLOWED_IPS. Senders on that list are let in. To try "
            f"it from here, run `receiver setup-window {source.name}` first"
        )
    meanings = {
        401: f"the running service does not know the first token of {setting}_TOKENS. Restart it with these settings",
        404: f"{source.name} is off in the running service. Restart it with these settings",
    }
    return f"{status}: {meanings[status]}" if status in meanings else f"{status}, expected 200"
