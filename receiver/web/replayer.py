"""Deciding a kept call again, for the API and the console: its body is read here, and decided where all is decided."""

from contextlib import suppress
from datetime import datetime

from receiver import clock
from receiver.errors import Underway
from receiver.intake import take_again
from receiver.records import Submission
from receiver.sources import Source
from receiver.storage.database import Database
from receiver.storage.kept import fingerprint, read_kept
from receiver.storage.replay import ACTION, Order, Replayed
from receiver.web.desk import Desk
from receiver.web.operators import Operator
from receiver.web.reader import Reader

_TRIES = 3


class Replayer:
    """Replays one call at a time."""

    def __init__(self, reader: Reader, desk: Desk, database: Database, sources: tuple[Source, ...]) -> None:
        self._reader = reader
        self._desk = desk
        self._database = database
        self._sources = sources

    async def replay(self, operator: Operator, delivery_id: str, now: datetime, *, force: bool, dry_run: bool) -> Replayed:
        """Return what deciding a call again changes, or would change; what is done is on record with who did it.

        Raises NotFound, UnexpectedShape (its bytes are no longer kept) or StorageUnavailable.
        """
        for _ in range(_TRIES - 1):
            with suppress(Underway):  # an erasure came between reading and deciding
                return await self._replay(operator, delivery_id, now, force=force, dry_run=dry_run)
        return await self._replay(operator, delivery_id, now, force=force, dry_run=dry_run)

    async def _replay(self, operator: Operator, delivery_id: str, now: datetime, *, force: bool, dry_run: bool) -> Replayed:
        submission, as_read = await self._reader.read(self._read, delivery_id)
        order = Order(clock.to_micros(now), force, dry_run, as_read)
        if dry_run:
            shown: Replayed = await self._desk.do("replay", submission, order)
            return shown
        entry = operator.entry(now, ACTION, submission.delivery.id, order.detail)
        replayed: Replayed = await self._desk.do("audited", entry, "replay", (submission, order))
        self._desk.tell_change()
        return replayed

    def _read(self, delivery_id: str) -> tuple[Submission, str]:
        delivery = read_kept(self._database, delivery_id)
        submission = take_again(self._sources, delivery)
        light = submission._replace(delivery=delivery._replace(body=b""))  # what it says is in its messages now
        return light, fingerprint(delivery.body)
