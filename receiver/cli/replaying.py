"""Reprocessing of stored deliveries: in this process, or in the running service if only that may write (SQLite)."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote

import orjson

from receiver import clock
from receiver.cli._remote import ask_service, audit_entry, do_here, read_here, refused
from receiver.errors import AlreadyRunning, NotFound, ReceiverError, UnexpectedShape, WriterTaken
from receiver.maintenance.replay import StoredReplay
from receiver.relay.assembly import read_subscriptions
from receiver.settings import Settings
from receiver.sources.intake import take_unread
from receiver.storage import version
from receiver.storage.database import Database
from receiver.storage.replay import ReplayDecider
from receiver.storage.transactions import Transactions
from receiver.writer.executor import CommandExecutor


class LeftOut(ReceiverError):
    """A delivery that cannot be reprocessed. The message says why."""


class ReplayRunner(Protocol):
    """Reprocessor of one delivery at a time, each in its own transaction."""

    def replay(self, delivery_id: str, *, force: bool, dry_run: bool) -> dict[str, Any]:
        """Return the effects in the shape of the API. Raises NotFound, LeftOut or StorageUnavailable."""


@contextmanager
def replaying(settings: Settings) -> Iterator[tuple[Database, ReplayRunner]]:
    """Give the database for reading, and a runner. Raises SchemaOutdated, StorageUnavailable or ConfigurationError."""
    database = Database(settings.database_url)
    here: _Here | None = None
    try:
        try:
            database.take()
        except WriterTaken as taken:
            version.check(database)
            yield database, _Elsewhere(settings, taken)
        else:
            version.check(database)
            here = _Here(settings, database)
            yield database, here
    finally:
        database.close_readers()
        if here is not None:
            here.close()
        database.close()


class _Here:
    def __init__(self, settings: Settings, database: Database) -> None:
        decider = ReplayDecider(database, timedelta(hours=settings.max_future_hours), read_subscriptions(settings))
        parse = partial(take_unread, settings.sources(), settings.max_body_bytes)
        self._transactions = Transactions(database)
        executor = CommandExecutor(database, self._transactions, parse, decider)
        self._replayer = StoredReplay(do_here(executor), read_here, database)
        self._runner = asyncio.Runner()

    def replay(self, delivery_id: str, *, force: bool, dry_run: bool) -> dict[str, Any]:
        case = self._replayer.replay(audit_entry, delivery_id, clock.now(), force=force, dry_run=dry_run)
        try:
            replayed = self._runner.run(case)
        except (UnexpectedShape, AlreadyRunning) as error:
            raise LeftOut(error.message) from None
        return {**replayed.as_json(), "dry_run": dry_run, "force": force}

    def close(self) -> None:
        self._runner.close()
        self._transactions.close()


class _Elsewhere:
    def __init__(self, settings: Settings, taken: WriterTaken) -> None:
        self._settings = settings
        self._taken = taken

    def replay(self, delivery_id: str, *, force: bool, dry_run: bool) -> dict[str, Any]:
        if "/" in delivery_id:  # no path of the service can name such an ID
            raise NotFound(f"There is no delivery {delivery_id}.")
        path = f"/ops/api/deliveries/{quote(delivery_id, safe='')}/replay"
        status, answer = ask_service(self._settings, path, {"force": force, "dry_run": dry_run}, self._taken)
        if status == 200:
            found: dict[str, Any] = orjson.loads(answer)
            return found
        if status in {404, 409, 422}:
            message = str(orjson.loads(answer)["error"]["message"])
            raise NotFound(message) if status == 404 else LeftOut(message)
        raise refused(self._settings, status, answer)
