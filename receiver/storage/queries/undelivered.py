"""Lists of trackers with a change that a target did not get: it waits, fails, or failed for good.

A tracker may have very many such changes. The queries jump from one source and one tracker to the next, so the work of a page
depends only on the number of its trackers.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import CTE, ColumnElement, Connection, ScalarSelect, Select, and_, func, literal, select, union_all

from receiver.storage.queries.pages import ResultPage, public, read_cursor, write_cursor
from receiver.storage.queries.states import TrackerFilter, conditions
from receiver.storage.tables.ledger import TrackerTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import DeadTable, DispatchTable

_SEEN_TRACKERS = 500  # that one page reads if there are other filters; without them, as many as fill it
_TABLES = (DispatchTable, DeadTable)


def list_undelivered(connection: Connection, wanted: TrackerFilter, limit: int, cursor: str | None) -> ResultPage:
    """Return the trackers with a change that the target did not get, by source and id. The filter names the target.

    The keys come from the outbox: most trackers have no such change.
    """
    target, until = wanted.not_delivered_to or "", wanted.until()
    table = table_of(TrackerTable)
    narrow = [*conditions(wanted._replace(not_delivered_to=None, source=None))]
    narrow += [] if until is None else [table.c.moved_at < until]
    after = read_cursor(cursor, str, str) or ("", "")
    share = _SEEN_TRACKERS if narrow else limit + 1
    items: list[dict[str, Any]] = []
    for source in _list_sources(connection, target, after[0]):
        if wanted.source not in (None, source):
            continue
        keys = _select_keys(target, source, after[1] if source == after[0] else "", share)
        found = connection.execute(keys).scalars().all()
        statement = select(table).where(table.c.source == source, table.c.tracker_id.in_(found), *narrow)
        rest = statement.order_by(table.c.tracker_id).limit(limit + 1 - len(items))
        items += map(public, connection.execute(rest).mappings())
        share -= len(found)
        if len(items) > limit:
            return ResultPage(items[:limit], write_cursor(items[limit - 1]["source"], items[limit - 1]["tracker_id"]))
        if share == 0:
            return ResultPage(items, write_cursor(source, found[-1]))
    return ResultPage(items, None)


def _list_sources(connection: Connection, target: str, first: str) -> Iterator[str]:
    """Yield the sources of the changes that a target did not get, from `first` on."""
    columns = [table_of(model).c.source for model in _TABLES]
    source = connection.execute(select(_find_least(columns, target, [column >= first for column in columns]))).scalar()
    while source is not None:
        yield source
        source = connection.execute(select(_find_least(columns, target, [column > source for column in columns]))).scalar()


def _select_keys(target: str, source: str, after: str, share: int) -> Select[Any]:
    """Select the first ids of trackers after one, at most `share`, each by one look into each index."""
    tables = [table_of(model) for model in _TABLES]
    columns = [table.c.tracker_id for table in tables]

    def find_next(last: ColumnElement[str], keys: CTE | None = None) -> ScalarSelect[Any]:
        conditions = [and_(table.c.source == source, table.c.tracker_id > last) for table in tables]
        return _find_least(columns, target, conditions, keys)

    first = find_next(literal(after, columns[0].type)).label("tracker_id")
    keys = select(first, literal(1).label("place")).cte("keys", recursive=True)
    go_on = keys.c.tracker_id.is_not(None), keys.c.place < share
    keys = keys.union_all(select(find_next(keys.c.tracker_id, keys), keys.c.place + 1).where(*go_on))
    return select(keys.c.tracker_id).where(keys.c.tracker_id.is_not(None))


def _find_least(
    columns: Sequence[ColumnElement[str]], target: str, conditions: Sequence[ColumnElement[bool]], keys: CTE | None = None
) -> ScalarSelect[Any]:
    """Return the subquery for the least value in a column of each table under the condition for it."""
    least = [
        select(func.min(column).label("least")).where(column.table.c.target == target, condition).correlate(keys)
        for column, condition in zip(columns, conditions, strict=True)
    ]
    return select(func.min(union_all(*least).subquery().c.least)).scalar_subquery()
