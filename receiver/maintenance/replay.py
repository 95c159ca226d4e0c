"""Deciding a kept call again, for the API and the console: its body is read and decided in the writing process."""

from contextlib import suppress
from datetime import datetime

from receiver import clock
from receiver.access.operators import Operator
from receiver.domain.records import UnreadDelivery
from receiver.errors import AlreadyRunning
from receiver.storage.database import Database
from receiver.storage.reader import Reader
from receiver.storage.replay import ACTION, Replayed, ReplayOptions
from receiver.storage.stored_deliveries import fingerprint, read_delivery
from receiver.writer.client import WriterClient
from receiver.writer.commands.deliveries import Replay
from receiver.writer.commands.operators import Audited

_TRIES = 3


class StoredReplay:
    """Replays one call at a time."""

    def __init__(self, reader: Reader, writer_client: WriterClient, database: Database) -> None:
        self._reader = reader
        self._writer_client = writer_client
        self._database = database

    async def replay(self, operator: Operator, delivery_id: str, now: datetime, *, force: bool, dry_run: bool) -> Replayed:
        """Return what deciding a call again changes, or would change; what is done is on record with who did it.

        Raises NotFound, UnexpectedShape (its bytes are no longer kept) or StorageUnavailable.
        """
        for _ in range(_TRIES - 1):
            with suppress(AlreadyRunning):  # an erasure came between reading and deciding
                return await self._replay(operator, delivery_id, now, force=force, dry_run=dry_run)
        return await self._replay(operator, delivery_id, now, force=force, dry_run=dry_run)

    async def _replay(self, operator: Operator, delivery_id: str, now: datetime, *, force: bool, dry_run: bool) -> Replayed:
        delivery = await self._reader.read(read_delivery, self._database, delivery_id)
        order = ReplayOptions(clock.to_micros(now), force, dry_run, fingerprint(delivery.body))
        if dry_run:
            return await self._writer_client.do(Replay(UnreadDelivery(delivery), order))
        entry = operator.entry(now, ACTION, delivery.id, order.detail)
        replayed = await self._writer_client.do(Audited(entry, Replay(UnreadDelivery(delivery), order)))
        self._writer_client.tell_change()
        return replayed
