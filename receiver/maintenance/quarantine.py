"""Dismissal of quarantined messages and events that need no further attention. Each transaction has a bounded size."""

from collections.abc import Sequence
from time import monotonic

from receiver import clock
from receiver.domain.labels import count
from receiver.maintenance.execution import MakeEntry, RunQuery
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries import MAX_LIMIT, QuarantineFilter
from receiver.storage.statements import chunks
from receiver.writer.commands.operators import Audited
from receiver.writer.commands.quarantine import DismissItems
from receiver.writer.executor import Do


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
