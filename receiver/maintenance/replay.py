"""Replay of one stored delivery: read its bytes, then parse and decide them in the writing process."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from receiver import clock
from receiver.domain.records import UnreadDelivery
from receiver.domain.replays import ACTION, Replayed, ReplayOptions
from receiver.errors import AlreadyRunning
from receiver.maintenance.execution import MakeEntry, RunQuery
from receiver.storage.database import Database
from receiver.storage.stored_deliveries import fingerprint, read_delivery
from receiver.writer.commands.deliveries import Replay
from receiver.writer.commands.operators import Audited
from receiver.writer.executor import Do

_TRIES = 3


class StoredReplay:
    """Replays stored deliveries. `do` executes a command, `read` a query; `announce_change` is called after a replay."""

    def __init__(self, do: Do, read: RunQuery, database: Database, announce_change: Callable[[], None] = lambda: None) -> None:
        self._do = do
        self._read = read
        self._database = database
        self._announce_change = announce_change

    async def replay(self, make_entry: MakeEntry, delivery_id: str, options: ReplayOptions) -> Replayed:
        """Replay a delivery and return the changes; with `dry_run`, those that a replay would make. A real replay is audited.

        Raises NotFound, UnexpectedShape (the body is not stored), AlreadyRunning (it keeps changing) or StorageUnavailable.
        """
        for _ in range(_TRIES - 1):
            with suppress(AlreadyRunning):  # the body was erased between reading and deciding
                return await self._replay(make_entry, delivery_id, options)
        return await self._replay(make_entry, delivery_id, options)

    async def _replay(self, make_entry: MakeEntry, delivery_id: str, options: ReplayOptions) -> Replayed:
        delivery = await self._read(partial(read_delivery, needs_body=not options.undo), self._database, delivery_id)
        command = Replay(UnreadDelivery(delivery), options._replace(as_read=fingerprint(delivery.body)))
        if options.dry_run:
            return await self._do(command)
        entry = make_entry(clock.from_micros(options.now), ACTION, delivery.id, options.detail)
        replayed = await self._do(Audited(entry, command))
        self._announce_change()
        return replayed
