"""Ship24's trackers that are still on their way and were silent for long, for lookups at the vendor.

Few trackers of many are, and fewer of them were not looked up lately. So an index leads to them, a page at a time, and rows are
read only of those that may be meant.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, or_, select, tuple_

from receiver.storage.database import Database
from receiver.storage.queries.movements import TrackerPosition, list_positions
from receiver.storage.queries.states import FINAL_MILESTONES, TrackerFilter
from receiver.storage.tables.ledger import TrackerTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.recovery import LookupTable

_SOURCE = "ship24"
_PAGE = 1000


def list_silent(database: Database, before: int, limit: int) -> list[str]:
    """Return ids of trackers that are still on their way, and that neither moved nor were looked up since `before`.

    The one that was not seen for longest is the first. Trackers that the vendor no longer tracks are left out.
    """
    found = [*_list_looked_up(database, before, limit), *_list_never_looked_up(database, before, limit)]
    return [tracker_id for _, tracker_id in sorted(found)[:limit]]


def _list_looked_up(database: Database, before: int, limit: int) -> list[tuple[int, str]]:
    """Return times and ids of trackers that have not moved since they were looked up, the oldest first."""
    lookups = table_of(LookupTable)
    place = tuple_(lookups.c.looked_up_at, lookups.c.tracker_id)
    due = select(lookups.c.looked_up_at, lookups.c.tracker_id).where(
        lookups.c.source == _SOURCE, lookups.c.is_tracked, lookups.c.looked_up_at < before
    )
    due = due.order_by(lookups.c.looked_up_at, lookups.c.tracker_id).limit(_PAGE)
    found: list[tuple[int, str]] = []
    after = 0, ""
    while len(found) < limit:
        with database.read() as connection:
            page = [(row.looked_up_at, row.tracker_id) for row in connection.execute(due.where(place > after))]
            found += _leave_out_moved(connection, page)
        if len(page) < _PAGE:
            break
        after = page[-1]
    return found[:limit]


def _leave_out_moved(connection: Connection, page: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the trackers of a page without those that have moved since, that arrived, or that are of tests."""
    trackers = table_of(TrackerTable)
    goes_on = or_(trackers.c.status_milestone.is_(None), trackers.c.status_milestone.not_in(FINAL_MILESTONES))
    ours = trackers.c.source == _SOURCE, trackers.c.tracker_id.in_([tracker_id for _, tracker_id in page])
    rows = connection.execute(
        select(trackers.c.tracker_id, trackers.c.moved_at).where(*ours, goes_on, trackers.c.test_run.is_(None))
    )
    moved_at = {row.tracker_id: row.moved_at for row in rows}
    return [(time, tracker_id) for time, tracker_id in page if moved_at.get(tracker_id, time + 1) <= time]


def _list_never_looked_up(database: Database, before: int, limit: int) -> list[tuple[int, str]]:
    """Return the times and ids of trackers that were not looked up since they moved, the oldest first."""
    wanted = TrackerFilter(source=_SOURCE, stuck_since=before, sort="oldest")
    found: list[tuple[int, str]] = []
    after: TrackerPosition | None = None
    while len(found) < limit:
        with database.read() as connection:  # one for each page: a long one would hold up the checkpoint of SQLite's WAL
            page = list_positions(connection, wanted, _PAGE, after)
            found += _leave_out_looked_up(connection, page)
        if len(page) < _PAGE:
            break
        after = page[-1]
    return found[:limit]


def _leave_out_looked_up(connection: Connection, page: Iterable[TrackerPosition]) -> list[tuple[int, str]]:
    """Return the trackers of a page without those that were looked up since they moved, and without those of tests."""
    moved_at = {position.tracker_id: position.moved_at for position in page}
    lookups, trackers = table_of(LookupTable), table_of(TrackerTable)
    looked_up = select(lookups.c.tracker_id, lookups.c.looked_up_at).where(
        lookups.c.source == _SOURCE, lookups.c.tracker_id.in_(moved_at)
    )
    for tracker_id, looked_up_at in connection.execute(looked_up):
        if looked_up_at >= moved_at[tracker_id]:
            del moved_at[tracker_id]
    tests = select(trackers.c.tracker_id).where(
        trackers.c.source == _SOURCE, trackers.c.tracker_id.in_(moved_at), trackers.c.test_run.is_not(None)
    )
    of_tests = set(connection.execute(tests).scalars())
    return [(time, tracker_id) for tracker_id, time in moved_at.items() if tracker_id not in of_tests]
