"""Quarantined messages and events are decided again, or dismissed if they need no further attention, and reopened.

Each transaction has a bounded size.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from time import monotonic
from typing import TypeAlias

from receiver import clock
from receiver.domain.labels import count
from receiver.domain.replays import Replayed, ReplayOptions
from receiver.domain.retries import Retried
from receiver.errors import AlreadyRunning, BodyDamaged, NotFound, UnexpectedShape
from receiver.maintenance.execution import MakeEntry, RunQuery
from receiver.maintenance.replay import StoredReplay
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries import MAX_LIMIT, QuarantineFilter
from receiver.storage.queries.pages import ResultPage
from receiver.storage.statements import chunks
from receiver.writer.commands.operators import Audited
from receiver.writer.commands.quarantine import DismissItems, ReopenItems
from receiver.writer.executor import Do

ChangeItems: TypeAlias = Callable[[Sequence[str]], Awaitable[int]]
"""Changes items by id; returns the number of those that were changed."""

_RETRIED = 20  # items of one page, each perhaps of another delivery


async def dismiss(do: Do, ids: Sequence[str], note: str | None, make_entry: MakeEntry) -> int:
    """Dismiss items by id, with a note that says why. Return the number of those that were open."""
    dismissed = 0
    for some in chunks(ids, MAX_LIMIT):
        now = clock.now()
        entry = make_entry(now, "quarantine dismiss", _name(some), note)
        dismissed += await do(Audited(entry, DismissItems(some, entry.actor, note, clock.to_micros(now))))
    return dismissed


async def reopen(do: Do, ids: Sequence[str], make_entry: MakeEntry) -> int:
    """Open dismissed items again, by id. Return the number of those that are open now."""
    reopened = 0
    for some in chunks(ids, MAX_LIMIT):
        entry = make_entry(clock.now(), "quarantine reopen", _name(some), None)
        reopened += await do(Audited(entry, ReopenItems(some)))
    return reopened


def _name(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else count(len(ids), "message")


async def change_matching(
    read: RunQuery, database: Database, wanted: QuarantineFilter, seconds: float, change: ChangeItems
) -> tuple[int, bool]:
    """Dismiss or reopen the items that match a filter, for at most `seconds`.

    Return their number, and whether there may be more.
    """
    changed, more = 0, False
    async for page in _read_pages(read, database, wanted, MAX_LIMIT, seconds):
        changed += await change([item["id"] for item in page.items])
        more = page.next is not None
    return changed, more


async def count_matching(
    read: RunQuery, database: Database, wanted: QuarantineFilter, seconds: float
) -> tuple[Counter[str], bool]:
    """Count the items that match a filter by reason, for at most `seconds`. Return also whether there may be more."""
    reasons, more = Counter[str](), False
    async for page in _read_pages(read, database, wanted, MAX_LIMIT, seconds):
        reasons.update(item["reason"] for item in page.items)
        more = page.next is not None
    return reasons, more


async def retry_items(
    replayer: StoredReplay, read: RunQuery, database: Database, ids: Sequence[str], make_entry: MakeEntry, *, dry_run: bool
) -> Retried:
    """Decide the deliveries of these items again, within the limits."""
    delivery_ids = await read(queries.find_quarantined_deliveries, database, ids)
    return await retry_deliveries(replayer, delivery_ids, make_entry, dry_run=dry_run)


async def retry_matching(
    replayer: StoredReplay,
    read: RunQuery,
    database: Database,
    wanted: QuarantineFilter,
    cursor: str | None,
    make_entry: MakeEntry,
    seconds: float,
    *,
    dry_run: bool,
) -> tuple[Retried, str | None]:
    """Decide the deliveries of the open items that match a filter again, newest first, for at most about `seconds`.

    Return the effect, and the cursor to continue from, None at the end.
    """
    retried, done = Retried.of_none(), set[str]()
    async for page in _read_pages(read, database, wanted._replace(state="open"), _RETRIED, seconds, cursor):
        named = {item["delivery_id"] for item in page.items} - done
        retried = await retry_deliveries(replayer, named, make_entry, dry_run=dry_run, before=retried)
        done |= named
        cursor = page.next
    return retried, cursor


async def _read_pages(
    read: RunQuery, database: Database, wanted: QuarantineFilter, limit: int, seconds: float, cursor: str | None = None
) -> AsyncIterator[ResultPage]:
    """Yield the pages of items that match a filter from the cursor on: at least one, and others for at most `seconds`."""
    deadline = monotonic() + seconds
    while True:
        page: ResultPage = await read(queries.list_quarantine, database, wanted, limit, cursor)
        yield page
        cursor = page.next
        if cursor is None or monotonic() >= deadline:
            return


async def retry_deliveries(
    replayer: StoredReplay,
    delivery_ids: Iterable[str],
    make_entry: MakeEntry,
    *,
    dry_run: bool,
    before: Retried | None = None,
) -> Retried:
    """Decide the quarantined messages of deliveries again, oldest first. Return the effect, added to the one `before`.

    Deliveries that would stay as they are are not audited.
    """
    retried = before or Retried.of_none()
    for delivery_id in sorted(delivery_ids):
        options = ReplayOptions(clock.to_micros(clock.now()), retry=True)
        replayed: Replayed | None = None
        try:
            replayed = await replayer.replay(make_entry, delivery_id, options._replace(dry_run=True))
            if replayed.changed and not dry_run:
                replayed = await replayer.replay(make_entry, delivery_id, options)
        except (NotFound, UnexpectedShape, BodyDamaged, AlreadyRunning):
            replayed = None
        retried = retried.add(replayed)
    return retried
