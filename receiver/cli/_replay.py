"""The command `deliveries replay`: reprocess stored deliveries, here or in the service if only that may write (SQLite)."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import click
import orjson

from receiver import clock
from receiver.cli._errors import complain, printable
from receiver.cli._options import OneOf, Text, as_json, delivery_filters
from receiver.cli._output import advancing, confirm, show_heading, show_json, show_table, until_interrupted
from receiver.cli._remote import ask_service, audit_entry, do_here, read_here, refused
from receiver.errors import AlreadyRunning, NotFound, ReceiverError, UnexpectedShape, WriterTaken
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

_SHOWN = 20  # rows in each table

ReplayOne = Callable[[str, dict[str, bool]], dict[str, Any]]
"""Replays the delivery of an ID in a transaction of its own, with `force` and `dry_run`, and returns the answer of the API.

Raises NotFound, LeftOut or StorageUnavailable.
"""


class LeftOut(ReceiverError):
    """A delivery that cannot be reprocessed. The message says why."""


class Effects:
    """Effects of reprocessing deliveries, added one by one, printed as two tables and a total.

    `changing` are the IDs of the deliveries that change anything, `left_out` the reasons why others were skipped. All details are
    kept only for JSON (`whole`), as there may be very many.
    """

    def __init__(self, *, whole: bool) -> None:
        self.changing: list[str] = []
        self.left_out: list[tuple[str, str]] = []
        self.is_interrupted = False
        self._whole = whole
        self._answers: list[dict[str, Any]] = []
        self._deliveries = 0
        self._unreadable = 0
        self._messages = 0
        self._trackers = 0
        self._message_rows: list[tuple[object, ...]] = []
        self._tracker_rows: list[tuple[object, ...]] = []

    def add(self, answer: dict[str, Any]) -> None:
        """Add the effects of one delivery, in the shape of the API."""
        self._deliveries += 1
        self._unreadable += answer["problem"] is not None
        if not answer["changed"]:
            return
        self.changing.append(answer["delivery_id"])
        if self._whole:
            self._answers.append(answer)
        items = [item for item in answer["items"] if item["before"] != item["after"]]
        self._messages += len(items)
        self._trackers += len(answer["trackers"])
        for item in items[: _SHOWN - len(self._message_rows)]:
            verdicts = _verdict(item["before"]), _verdict(item["after"])
            self._message_rows.append((answer["delivery_id"], item["position"] + 1, item["message_id"], *verdicts))
        for tracker in answer["trackers"][: _SHOWN - len(self._tracker_rows)]:
            self._tracker_rows.append((tracker["tracker_id"], _status(tracker["before"]), _status(tracker["after"])))

    def show(self) -> None:
        """Print the effects before they happen."""
        if self._message_rows:
            columns = ("delivery", "#", "message", "now", "after")
            show_table(columns, self._message_rows, wrapped=["message", "now", "after"], numbers=["#"])
            _show_rest(self._messages - len(self._message_rows), "message")
        if self._tracker_rows:
            show_heading("Trackers")
            show_table(("tracker", "now", "after"), self._tracker_rows, wrapped=["tracker", "now", "after"])
            _show_rest(self._trackers - len(self._tracker_rows), "tracker")
        if self._message_rows or self._tracker_rows:
            click.echo()
        self.show_total("would change", "would be updated", "would stay")

    def show_total(self, changed: str, updated: str, stayed: str) -> None:
        """Print the numbers of deliveries, messages and trackers, with these verbs."""
        messages, deliveries = _count(self._messages, "message"), _deliveries(len(self.changing))
        trackers = _count(self._trackers, "tracker")
        click.echo(f"{messages} of {deliveries} {changed}, {trackers} {updated}." if self.changing else f"Nothing {changed}.")
        if self._deliveries > len(self.changing):
            click.echo(f"{_deliveries(self._deliveries - len(self.changing))} {stayed} as before.")
        if self._unreadable:
            click.echo(f"{_deliveries(self._unreadable)} with an invalid body. Run `receiver explain ID` for the reason.")
        for reason, number in Counter(reason for _, reason in self.left_out).items():
            click.echo(f"Skipped: {_deliveries(number)}. {printable(reason)}")

    def as_json(self) -> dict[str, Any]:
        """Return the effects in the shape of `--json`."""
        return {
            "calls": self._deliveries,
            "changed": len(self.changing),
            "items": self._answers,
            "left_out": [{"delivery_id": delivery_id, "reason": reason} for delivery_id, reason in self.left_out],
            "interrupted": self.is_interrupted,
        }


def _show_rest(left: int, what: str) -> None:
    if left:
        click.echo(f"… and {_count(left, what)} more")


def _deliveries(number: int) -> str:
    return "1 delivery" if number == 1 else f"{number} deliveries"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _verdict(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return "none"
    return str(verdict["outcome"]) + (f" ({verdict['reason']})" if verdict["reason"] else "")


def _status(tracker: dict[str, Any] | None) -> str:
    if tracker is None:
        return "unknown"
    if tracker["latest_occurrence"] is None:
        return "no events"
    return f"{tracker['status_milestone'] or tracker['status'] or '-'} {tracker['latest_occurrence']}"


@click.command()
@click.argument("ids", type=Text(), metavar="[ID]...", nargs=-1)
@delivery_filters
@click.option("--outcome", type=OneOf(["accepted", "unreadable", "failed"]), help="Only deliveries with this outcome.")
@click.option("--force", is_flag=True, help="Also quarantined messages, and event times too far in the future.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@as_json
def replay(ids: tuple[str, ...], *, force: bool, dry_run: bool, yes: bool, as_json: bool, **filters: Any) -> None:
    """Reprocess stored deliveries, oldest first.

    Name them by ID or by filters. A message gets a verdict if it has none, or if it was quarantined and can be read now. Others
    keep theirs. Shows first what each delivery would change by itself, then asks for confirmation.
    """
    if bool(ids) == any(value is not None for value in filters.values()):
        raise click.UsageError("Name deliveries by ID, or by filters such as --since 24h; not both.")
    with _replaying(load()) as (database, replay_one):
        named = sorted(set(ids)) if ids else _find(database, queries.DeliveryFilter(**filters))
        effects = _run(replay_one, named, Effects(whole=as_json), force=force, dry_run=True)
        if not as_json:
            effects.show()
        if effects.changing and not dry_run and not effects.is_interrupted:
            if not yes:
                confirm(f"Reprocess {len(effects.changing)} of {len(named)} deliveries?")
            foreseen, effects = effects, Effects(whole=as_json)
            effects.left_out += foreseen.left_out
            _run(replay_one, foreseen.changing, effects, force=force, dry_run=False)
            if not as_json:
                effects.show_total("changed", "updated", "stayed")
    if as_json:
        show_json({"dry_run": dry_run, "force": force, **effects.as_json()})
    if effects.is_interrupted:
        raise KeyboardInterrupt
    if ids and effects.left_out:
        raise click.exceptions.Exit(1)


def _find(database: Database, wanted: queries.DeliveryFilter) -> list[str]:
    """Return the IDs of the matching deliveries, oldest first."""
    found: list[str] = []
    page = queries.list_deliveries(database, wanted, NAMES, queries.MAX_LIMIT)
    found += [row["id"] for row in page.items]
    while page.next is not None:
        page = queries.list_deliveries(database, wanted, NAMES, queries.MAX_LIMIT, page.next)
        found += [row["id"] for row in page.items]
    return found[::-1]


def _run(replay_one: ReplayOne, ids: Sequence[str], effects: Effects, *, force: bool, dry_run: bool) -> Effects:
    """Reprocess deliveries, each in its own transaction, until Ctrl-C is pressed. Return `effects`."""
    done, options = 0, {"force": force, "dry_run": dry_run}
    with advancing("checking" if dry_run else "reprocessing", len(ids)) as advance, until_interrupted() as interrupted:
        try:
            for done, delivery_id in enumerate(ids):  # noqa: B007  used in `finally`
                if interrupted():
                    effects.is_interrupted = True
                    break
                try:
                    effects.add(replay_one(delivery_id, options))
                except LeftOut as error:
                    effects.left_out.append((delivery_id, error.message))
                advance(1)
            else:
                done = len(ids)
        finally:
            if done < len(ids) and not dry_run:
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

        def replay_one(delivery_id: str, options: dict[str, bool]) -> dict[str, Any]:
            try:
                replayed = runner.run(stored.replay(audit_entry, delivery_id, clock.now(), **options))
            except (UnexpectedShape, AlreadyRunning) as error:
                raise LeftOut(error.message) from None
            return replayed.as_json() | options

        try:
            yield replay_one
        finally:
            database.close_readers()  # SQLite empties the WAL only when the writing connection closes last


def _replay_there(settings: Settings, taken: WriterTaken, delivery_id: str, options: dict[str, bool]) -> dict[str, Any]:
    if "/" in delivery_id:  # no path of the service can name such an ID
        raise NotFound(f"There is no delivery {delivery_id}.")
    path = f"/ops/api/deliveries/{quote(delivery_id, safe='')}/replay"
    status, answer = ask_service(settings, path, options, taken)
    if status == 200:
        found: dict[str, Any] = orjson.loads(answer)
        return found
    if status in {404, 409, 422}:
        message = str(orjson.loads(answer)["error"]["message"])
        raise NotFound(message) if status == 404 else LeftOut(message)
    raise refused(settings, status, answer)
