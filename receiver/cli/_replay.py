"""The command `deliveries replay`: reprocess stored deliveries, here or in the service if only that may write (SQLite)."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import click
import orjson

from receiver import clock
from receiver.cli._errors import complain
from receiver.cli._lists import read_items
from receiver.cli._options import OneOf, Text, as_json, delivery_filters
from receiver.cli._output import advancing, confirm, show_json, until_interrupted
from receiver.cli._remote import ask_service, audit_entry, do_here, read_code, read_here, read_message, refused
from receiver.cli._replay_effects import Effects
from receiver.clock import to_micros
from receiver.domain.replays import ReplayOptions
from receiver.errors import AlreadyRunning, BodyDamaged, NotFound, ReceiverError, UnexpectedShape, WriterTaken
from receiver.maintenance.replay import StoredReplay
from receiver.relay.assembly import read_subscriptions
from receiver.settings import Settings, load
from receiver.sources import NAMES
from receiver.sources.intake import parse_unread
from receiver.storage import queries, version
from receiver.storage.database import Database
from receiver.storage.replay import ReplayDecider
from receiver.storage.transactions import Transactions
from receiver.writer.executor import CommandExecutor

ReplayOne = Callable[[str, ReplayOptions], dict[str, Any]]
"""Replays the delivery of an ID in a transaction of its own, and returns the answer of the API.

Raises NotFound, LeftOut or StorageUnavailable.
"""


class LeftOut(ReceiverError):
    """A delivery that cannot be reprocessed. The message says why."""


@click.command()
@click.argument("ids", type=Text(), metavar="[ID]...", nargs=-1)
@delivery_filters
@click.option("--outcome", type=OneOf(["accepted", "unreadable", "failed"]), help="Only deliveries with this outcome.")
@click.option("--force", is_flag=True, help="Also quarantined messages, and event times too far in the future.")
@click.option("--retry", is_flag=True, help="Also quarantined messages, if they can be applied within the limits now.")
@click.option("--undo", is_flag=True, help="Take back events that --force let in: those too far in the future.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@as_json
def replay(
    ids: tuple[str, ...], *, force: bool, retry: bool, undo: bool, dry_run: bool, yes: bool, as_json: bool, **filters: Any
) -> None:
    """Reprocess stored deliveries, oldest first.

    Name them by ID, its beginning, or filters. A message gets a verdict if it has none, or if it was quarantined and can be read
    now. Others keep theirs. Shows first what each delivery would change by itself, then asks for confirmation.

    A forced event of the future blocks all later updates of its tracker. --undo puts it back into quarantine, and the tracker
    moves to the newest of its other events.
    """
    if bool(ids) == any(value is not None for value in filters.values()):
        raise click.UsageError("Name deliveries by ID, or by filters such as --since 24h; not both.")
    if force + retry + undo > 1:
        raise click.UsageError("Choose one of --force, --retry and --undo.")

    def find(database: Database) -> list[str]:
        if not ids:
            return _find(database, queries.DeliveryFilter(**filters))
        return sorted({queries.complete_delivery_id(database, delivery_id) for delivery_id in ids})

    options = ReplayOptions(0, force=force, undo=undo, retry=retry)
    effects = replay_found(find, options, dry_run=dry_run, yes=yes, as_json=as_json)
    if ids and effects.skipped:
        raise click.exceptions.Exit(1)


def replay_found(
    find: Callable[[Database], list[str]], options: ReplayOptions, *, dry_run: bool, yes: bool, as_json: bool
) -> Effects:
    """Show what replays of the deliveries with these IDs would change, ask, and replay. Raises KeyboardInterrupt."""
    with _replaying(load()) as (database, replay_one):
        named = find(database)
        effects = _run(replay_one, named, Effects(whole=as_json), options._replace(dry_run=True))
        if not as_json:
            effects.show()
        if effects.changing and not dry_run and not effects.is_interrupted:
            if not yes:
                what = "Take back the events of" if options.undo else "Reprocess"
                confirm(f"{what} {len(effects.changing)} of {len(named)} deliveries?")
            foreseen, effects = effects, Effects(whole=as_json)
            effects.skipped += foreseen.skipped
            _run(replay_one, foreseen.changing, effects, options)
            if not as_json:
                effects.show_total("changed", "updated", "stayed")
    if as_json:
        show_json({**options._replace(dry_run=dry_run).as_json(), **effects.as_json()})
    if effects.is_interrupted:
        raise KeyboardInterrupt
    return effects


def _find(database: Database, wanted: queries.DeliveryFilter) -> list[str]:
    """Return the IDs of the matching deliveries, oldest first."""
    found = [row["id"] for row in read_items(partial(queries.list_deliveries, database, wanted, NAMES))]
    return found[::-1]


def _run(replay_one: ReplayOne, ids: Sequence[str], effects: Effects, options: ReplayOptions) -> Effects:
    """Reprocess deliveries, each in its own transaction, until Ctrl-C is pressed. Return `effects`."""
    done = 0
    with advancing("checking" if options.dry_run else "reprocessing", len(ids)) as advance, until_interrupted() as interrupted:
        try:
            for done, delivery_id in enumerate(ids):  # noqa: B007  used in `finally`
                if interrupted():
                    effects.is_interrupted = True
                    break
                try:
                    effects.add(replay_one(delivery_id, options._replace(now=to_micros(clock.now()))))
                except LeftOut as error:
                    effects.skipped.append((delivery_id, error.message))
                advance(1)
            else:
                done = len(ids)
        finally:
            if done < len(ids) and not options.dry_run:
                complain(f"Stopped: {done} of {len(ids)} deliveries were reprocessed, the others are unchanged.")
    return effects


@contextmanager
def _replaying(settings: Settings) -> Iterator[tuple[Database, ReplayOne]]:
    """Give the database for reading, and what replays. Raises SchemaOutdated, StorageUnavailable or ConfigurationError."""
    with closing(Database(settings.database_url)) as database:
        try:
            database.take()
        except WriterTaken as error:
            taken = error
        else:
            version.check(database)
            with _replaying_here(settings, database) as replay_one:
                yield database, replay_one
            return
        version.check(database)
        yield database, partial(_replay_there, settings, taken)


@contextmanager
def _replaying_here(settings: Settings, database: Database) -> Iterator[ReplayOne]:
    decider = ReplayDecider(database, timedelta(hours=settings.max_future_hours), read_subscriptions(settings))
    parse = partial(parse_unread, settings.sources(), settings.max_body_bytes)
    with closing(Transactions(database)) as transactions, asyncio.Runner() as runner:
        stored = StoredReplay(do_here(CommandExecutor(database, transactions, parse, decider)), read_here, database)

        def replay_one(delivery_id: str, options: ReplayOptions) -> dict[str, Any]:
            try:
                replayed = runner.run(stored.replay(audit_entry, delivery_id, options))
            except (UnexpectedShape, BodyDamaged, AlreadyRunning) as error:
                raise LeftOut(error.message) from None
            return replayed.as_json() | options.as_json()

        try:
            yield replay_one
        finally:
            database.close_readers()  # SQLite empties the WAL only when the writing connection closes last


def _replay_there(settings: Settings, taken: WriterTaken, delivery_id: str, options: ReplayOptions) -> dict[str, Any]:
    if "/" in delivery_id:  # no path of the service can name such an ID
        raise NotFound(f"There is no delivery {delivery_id}.")
    path = f"/ops/api/deliveries/{quote(delivery_id, safe='')}/replay"
    chosen = {name: True for name, is_set in options.as_json().items() if is_set}
    status, answer = ask_service(settings, path, chosen, taken)
    if status == 200:
        found: dict[str, Any] = orjson.loads(answer)
        return found
    if status in {404, 409, 422} or read_code(answer) == BodyDamaged.code:
        message = read_message(answer)
        raise NotFound(message) if status == 404 else LeftOut(message)
    raise refused(settings, status, answer)
