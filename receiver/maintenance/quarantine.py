"""Quarantined messages and events are decided again, or dismissed if they need no further attention.

Each transaction has a bounded size.
"""

from collections.abc import Iterable, Sequence
from time import monotonic
from typing import NamedTuple

from receiver import clock
from receiver.domain.labels import count
from receiver.domain.replays import ReplayOptions
from receiver.errors import AlreadyRunning, NotFound, UnexpectedShape
from receiver.maintenance.execution import MakeEntry, RunQuery
from receiver.maintenance.replay import StoredReplay
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries import MAX_LIMIT, QuarantineFilter
from receiver.storage.statements import chunks
from receiver.writer.commands.operators import Audited
from receiver.writer.commands.quarantine import DismissItems
from receiver.writer.executor import Do

_RETRIED = 20  # items of one page, each perhaps of another delivery


class Retried(NamedTuple):
    """The number of deliveries, of those whose messages changed, and of those that cannot be decided: their bodies are gone."""

    deliveries: int = 0
    changed: int = 0
    skipped: int = 0

    def add(self, other: "Retried") -> "Retried":
        """Return the sum."""
        return Retried(*map(sum, zip(self, other, strict=True)))


async def dismiss(do: Do, ids: Sequence[str], note: str | None, make_entry: MakeEntry) -> int:
    """Dismiss items by id, with a note that says why. Return the number of those that were open."""
    dismissed = 0
    for some in chunks(ids, MAX_LIMIT):
        now = clock.now()
        entry = make_entry(now, "quarantine dismiss", some[0] if len(some) == 1 else count(len(some), "message"), note)
        dismissed += await do(Audited(entry, DismissItems(some, entry.actor, note, clock.to_micros(now))))
    return dismissed


async def dismiss_matching(
    do: Do,
    read: RunQuery,
    database: Database,
    wanted: QuarantineFilter,
    note: str | None,
    make_entry: MakeEntry,
    seconds: float,
) -> tuple[int, bool]:
    """Dismiss the open items that match a filter, for at most `seconds`. Return their number, and whether there may be more."""
    deadline, dismissed, cursor, is_first = monotonic() + seconds, 0, None, True
    while is_first or (cursor is not None and monotonic() < deadline):
        page = await read(queries.list_quarantine, database, wanted._replace(state="open"), MAX_LIMIT, cursor)
        dismissed += await dismiss(do, [item["id"] for item in page.items], note, make_entry)
        cursor, is_first = page.next, False
    return dismissed, cursor is not None


async def retry_items(
    replayer: StoredReplay, read: RunQuery, database: Database, ids: Sequence[str], make_entry: MakeEntry
) -> Retried:
    """Decide the deliveries of these items again, within the limits."""
    return await _retry(replayer, await read(queries.find_quarantined_deliveries, database, ids), make_entry)


async def retry_matching(
    replayer: StoredReplay,
    read: RunQuery,
    database: Database,
    wanted: QuarantineFilter,
    cursor: str | None,
    make_entry: MakeEntry,
    seconds: float,
) -> tuple[Retried, str | None]:
    """Decide the deliveries of the open items that match a filter again, newest first, for at most about `seconds`.

    Return the effect, and the cursor to continue from, None at the end.
    """
    deadline, retried, is_first = monotonic() + seconds, Retried(), True
    while is_first or (cursor is not None and monotonic() < deadline):
        page = await read(queries.list_quarantine, database, wanted._replace(state="open"), _RETRIED, cursor)
        retried = retried.add(await _retry(replayer, {item["delivery_id"] for item in page.items}, make_entry))
        cursor, is_first = page.next, False
    return retried, cursor


async def _retry(replayer: StoredReplay, delivery_ids: Iterable[str], make_entry: MakeEntry) -> Retried:
    """Replay deliveries, oldest first. Those that would stay as they are are not audited."""
    retried = Retried()
    for delivery_id in sorted(delivery_ids):
        options = ReplayOptions(clock.to_micros(clock.now()), retry=True)
        try:
            foreseen = await replayer.replay(make_entry, delivery_id, options._replace(dry_run=True))
            changed = foreseen.changed and (await replayer.replay(make_entry, delivery_id, options)).changed
        except (NotFound, UnexpectedShape, AlreadyRunning):
            retried = retried.add(Retried(1, 0, 1))
        else:
            retried = retried.add(Retried(1, int(changed), 0))
    return retried
