"""The command `deliveries import`: bring in bodies, here or in the service if only that may write (SQLite)."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import click
import orjson

from receiver import clock
from receiver.cli._errors import complain
from receiver.cli._import_effects import ImportEffects
from receiver.cli._options import OneOf, TimeParam, as_json
from receiver.cli._output import advancing, until_interrupted
from receiver.cli._remote import ask_service, audit_entry, do_here, read_message, refused
from receiver.domain.imports import ImportRequest
from receiver.errors import ConfigurationError, InvalidJson, ReceiverError, StorageUnavailable, UnexpectedShape, WriterTaken
from receiver.maintenance.bring_in import DeliveryImport
from receiver.relay.assembly import read_subscriptions
from receiver.settings import Settings, load
from receiver.sources import NAMES
from receiver.sources.body_files import FileBody, split_bodies
from receiver.sources.intake import parse_unread
from receiver.storage import version
from receiver.storage.database import Database
from receiver.storage.imports import ImportKeeper
from receiver.storage.transactions import Transactions
from receiver.writer.executor import CommandExecutor, Do

BringIn = Callable[[ImportRequest], dict[str, Any]]
"""Brings in one body and returns the answer of the API. Raises BodyRefused, StorageUnavailable or ConfigurationError."""

_CHUNK_BYTES = 1 << 20
_SECONDS = 30.0  # for one body of many messages
_REFUSED = frozenset({400, 413, 422, 500})
_KINDS = ("new-package", "manifest-status")


class BodyRefused(ReceiverError):
    """A body that cannot be brought in. The message says why."""


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--source", type=OneOf(NAMES), required=True, help="The sender of the bodies.")
@click.option("--kind", type=OneOf(_KINDS), help="The kind of the bodies; only for Shiipp, which sends two.")
@click.option(
    "--at", type=TimeParam(), help="When the body was first sent, for a body of Shiipp without a time. Otherwise it is now."
)
@click.option("--dry-run", is_flag=True, help="Only show the results, and the trackers that would move.")
@as_json
def import_(file: Path, *, source: str, kind: str | None, at: int | None, dry_run: bool, as_json: bool) -> None:
    """Bring in deliveries that never came.

    FILE has a body as the sender would have sent it, or several: one on each line, or an array of bodies. `-` is standard input.
    The bodies are decided as those of webhooks are. What is known already is a duplicate, so a file may be imported again. A body
    that cannot be read is reported by its number, and the others are imported.

    A dry run decides each body by itself, and changes nothing.
    """
    settings = load()
    _check_kind(source, kind)
    if at is not None and at > clock.to_micros(clock.now()):
        raise click.UsageError("--at: expected a time in the past.")
    effects = ImportEffects(dry_run=dry_run, as_json=as_json)
    with _opened(file) as (content, size), _importing(settings) as bring_in, until_interrupted() as interrupted:
        chunks = iter(partial(content.read, _CHUNK_BYTES), b"")
        sends_arrays = any(each.sends_arrays for each in settings.sources() if each.name == source)
        bodies = split_bodies(chunks, settings.max_body_bytes, sends_arrays=sends_arrays)
        with advancing("importing", size, in_bytes=True) as advance:
            done = 0
            for body in bodies:
                if interrupted():
                    effects.is_interrupted = True
                    break
                request = ImportRequest(source, kind, None, at, dry_run)
                _import_body(bring_in, request, body, settings.max_body_bytes, effects)
                advance(body.read_bytes - done)
                done = body.read_bytes
    _finish(effects, file)


def _check_kind(source: str, kind: str | None) -> None:
    if source == "shiipp" and kind is None:
        raise click.UsageError(f"Shiipp sends two kinds of bodies. Add --kind {' or --kind '.join(_KINDS)}.")
    if source != "shiipp" and kind is not None:
        raise click.UsageError(f"--kind is only for shiipp: {source} sends one kind of body.")


def _import_body(bring_in: BringIn, request: ImportRequest, body: FileBody, limit: int, effects: ImportEffects) -> None:
    """Import a body, or report why not. Raises StorageUnavailable with what was done until then."""
    try:
        if body.content is None:
            raise BodyRefused(f"Expected a body of at most {limit} bytes (RECEIVER_MAX_BODY_BYTES).")
        effects.add(body.number, bring_in(request._replace(body=body.content, number=body.number)))
    except BodyRefused as error:
        effects.refuse(body.number, error.message)
    except (StorageUnavailable, ConfigurationError):
        if effects.bodies and not effects.dry_run:
            complain(f"Stopped at body {body.number}. The bodies before it are imported; a second import finds them duplicates.")
        raise


def _finish(effects: ImportEffects, file: Path) -> None:
    if not effects.bodies and not effects.is_interrupted:
        raise UnexpectedShape(f"{'Standard input' if str(file) == '-' else file} is empty. Expected a body in JSON.")
    effects.show()
    if effects.is_interrupted:
        raise KeyboardInterrupt
    if effects.refused:
        raise click.exceptions.Exit(1)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Give a file, or standard input for `-`, and its size (0: not known)."""
    if str(file) == "-":
        yield sys.stdin.buffer, 0
        return
    with file.open("rb") as content:
        yield content, os.fstat(content.fileno()).st_size


@contextmanager
def _importing(settings: Settings) -> Iterator[BringIn]:
    """Give a function that brings in bodies. Raises SchemaOutdated, StorageUnavailable or ConfigurationError."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open_import(settings))
        except WriterTaken as taken:
            yield partial(_import_there, settings, taken)
        else:
            yield partial(_import_here, stack.enter_context(asyncio.Runner()), opened.deliveries)


class OpenImport(NamedTuple):
    """The database of this process, and what executes commands and brings in deliveries there."""

    database: Database
    do: Do
    deliveries: DeliveryImport


@contextmanager
def open_import(settings: Settings) -> Iterator[OpenImport]:
    """Bring in deliveries in this process. Raises WriterTaken if the service holds the database."""
    with closing(Database(settings.database_url)) as database:
        database.take()
        version.check(database)
        database.close_readers()
        with closing(Transactions(database)) as transactions:
            parse = partial(parse_unread, settings.sources(), settings.max_body_bytes)
            keeper = ImportKeeper(database, timedelta(hours=settings.max_future_hours), read_subscriptions(settings))
            do = do_here(CommandExecutor(database, transactions, parse, imports=keeper))
            yield OpenImport(database, do, DeliveryImport(do, settings.sources(), settings.max_body_bytes))


def _import_here(runner: asyncio.Runner, deliveries: DeliveryImport, request: ImportRequest) -> dict[str, Any]:
    try:
        return runner.run(deliveries.bring_in(audit_entry, request)).as_json()
    except (StorageUnavailable, ConfigurationError):
        raise
    except ReceiverError as error:
        raise BodyRefused(error.message) from None


def _import_there(settings: Settings, taken: WriterTaken, request: ImportRequest) -> dict[str, Any]:
    try:
        body = (request.body or b"").decode()
    except UnicodeDecodeError:
        raise BodyRefused(InvalidJson("The body is not valid UTF-8.").message) from None
    arguments = {
        "source": request.source,
        "kind": request.kind,
        "body": body,
        "at": None if request.sent_at is None else clock.from_micros(request.sent_at).isoformat(),
        "dry_run": request.dry_run,
        "number": request.number,
    }
    status, answer = ask_service(settings, "/ops/api/deliveries/import", arguments, taken, _SECONDS)
    if status == 200:
        found: dict[str, Any] = orjson.loads(answer)
        return found
    if status in _REFUSED:
        raise BodyRefused(read_message(answer))
    raise refused(settings, status, answer)
