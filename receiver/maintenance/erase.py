"""Erasure of the personal data of trackers: find the deliveries, then erase from one after the other."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from receiver import clock
from receiver.domain.erasure import Erasure, ErasureCounts, ErasureReceipt, StoredBody
from receiver.maintenance.execution import MakeEntry, RunQuery
from receiver.sources import Source
from receiver.storage.database import Database
from receiver.storage.erasure import find_scope, plan_delivery
from receiver.writer.commands.deliveries import Checkpoint
from receiver.writer.commands.operators import Audited
from receiver.writer.commands.removal import Erase, ForgetTracker
from receiver.writer.executor import Do

_CHECKPOINT_TRIES = 30
_CHECKPOINT_PAUSE_SECONDS = 0.1


class Eraser:
    """Erases personal data. `do` executes a command, `read` a query; `sources` parse stored bodies."""

    def __init__(self, do: Do, read: RunQuery, database: Database, sources: Sequence[Source]) -> None:
        self._do = do
        self._read = read
        self._database = database
        self._sources = sources

    async def erase(self, trackers: Sequence[tuple[str, str]], make_entry: MakeEntry) -> ErasureReceipt:
        """Erase all personal data of these trackers and return the receipt. Raises NotFound for an unknown tracker.

        A body that cannot be searched is left as it is and counted: nobody can tell whether it names them.
        """
        erased_at = clock.to_micros(clock.now())
        counts = ErasureCounts()
        for source, tracker_id in trackers:
            counts = counts.plus(await self._erase_one(source, tracker_id, make_entry))
        return ErasureReceipt(erased_at, tuple(trackers), counts, await self._checkpoint())

    async def _erase_one(self, source: str, tracker_id: str, make_entry: MakeEntry) -> ErasureCounts:
        scope = await self._read(find_scope, self._database, source, tracker_id)
        entry = make_entry(clock.now(), "forget", f"{source}/{tracker_id}", None)
        await self._do(Audited(entry, ForgetTracker(source, tracker_id, scope.failures)))
        splits = {each.kind: each.split for each in self._sources if each.name == source}
        done = ErasureCounts()
        for delivery_id, positions in scope.deliveries.items():
            plan = partial(plan_delivery, self._database, scope.subject, splits, delivery_id, positions)
            erased = await self._erase_delivery(plan)
            done = done if erased is None else done.add(erased)
        return done

    async def _erase_delivery(self, plan: Callable[[], tuple[StoredBody, Erasure] | None]) -> Erasure | None:
        """Erase a delivery by its plan, which is made again if the delivery has changed meanwhile; return what was erased."""
        while True:
            planned: tuple[StoredBody, Erasure] | None = await self._read(plan)
            if planned is None:
                return None
            if await self._do(Erase(*planned)):
                return planned[1]

    async def _checkpoint(self) -> bool:
        """Empty SQLite's WAL, which still contains the erased bytes; return whether that worked. A reader may prevent it."""
        for _ in range(_CHECKPOINT_TRIES):
            if await self._do(Checkpoint()):
                return True
            await asyncio.sleep(_CHECKPOINT_PAUSE_SECONDS)
        return False
