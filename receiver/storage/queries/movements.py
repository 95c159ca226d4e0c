"""Trackers by what moved last: the groups of one source and milestone merged, in each of which one index has that order.

Each page costs a step into the index for every group that there is, so it takes longer the more milestones senders use. Trackers
of which the sender's own view differs have an index of their own with the same columns.
"""

from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Select,
    Table,
    Text,
    TextClause,
    case,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from receiver.storage.queries.pages import ResultPage, public, read_cursor, write_cursor
from receiver.storage.queries.states import FINAL_MILESTONES, TrackerFilter, read_states
from receiver.storage.tables.ledger import MILESTONE_DIFFERS, TrackerTable
from receiver.storage.tables.metadata import table_of


class _Group(NamedTuple):
    """Sorts by code points, whatever the database's own order is: `mark` is the milestone behind `=`, or nothing."""

    source: str
    mark: str

    @property
    def milestone(self) -> str | None:
        return self.mark[1:] or ("" if self.mark else None)


class _Behind(NamedTuple):
    """Where the page before ended. Of what moved at one moment the groups stand in their order."""

    moved_at: int
    group: _Group
    tracker_id: str


def list_by_movement(connection: Connection, wanted: TrackerFilter, limit: int, cursor: str | None) -> ResultPage:
    """Return trackers, last moved first.

    Those of which the sender's own view does not differ have no index of their own: the others are left out of the page.
    """
    behind = _read_cursor(cursor)
    found: list[tuple[int, _Group, str]] = []
    for latest_at, group in _find_groups(connection, wanted, behind):
        if len(found) > limit:
            if found[limit][0] > latest_at:
                break  # nothing in this group or a later one can come before
            wanted = wanted._replace(moved_after=found[limit][0])
        statement = _select_group(wanted, group, behind).limit(limit + 1)
        found += [(moved_at, group, tracker_id) for tracker_id, moved_at in connection.execute(statement)]
        found.sort(key=lambda place: (-place[0], place[1]))  # in each group the database's order stays
        del found[limit + 1 :]
    page = found[:limit]
    states = read_states(connection, [(group.source, tracker_id) for _, group, tracker_id in page])
    items = [public(states[group.source, tracker_id]) for _, group, tracker_id in page]
    if wanted.milestone_differs is False:
        items = [item for item in items if not item["milestone_differs"]]
    if len(found) <= limit:
        return ResultPage(items, None)
    moved_at, group, tracker_id = page[-1]
    return ResultPage(items, write_cursor(moved_at, *group, tracker_id))


def _read_cursor(cursor: str | None) -> _Behind | None:
    key = read_cursor(cursor, int, str, str, str)
    return None if key is None else _Behind(key[0], _Group(key[1], key[2]), key[3])


def _find_groups(connection: Connection, wanted: TrackerFilter, behind: _Behind | None) -> list[tuple[int, _Group]]:
    """Return the groups with a tracker in range and when their latest one moved, latest first."""
    table = table_of(TrackerTable)
    groups = _step_through(table, wanted)
    latest_at = _latest(table, groups, _within(table, wanted, _last_at(wanted, behind)), _kind(wanted))
    statement = select(groups.c.source, groups.c.milestone, latest_at.label("latest_at")).where(latest_at.is_not(None))
    if wanted.stuck_since is not None:
        statement = statement.where(or_(groups.c.milestone.is_(None), groups.c.milestone.not_in(FINAL_MILESTONES)))
    rows = connection.execute(statement)
    found = [(row.latest_at, _Group(row.source, "" if row.milestone is None else f"={row.milestone}")) for row in rows]
    return sorted(found, reverse=True)


def _kind(wanted: TrackerFilter) -> list[TextClause]:
    """Return the condition by which a statement is answered from the index of trackers of which the sender's view differs."""
    return [MILESTONE_DIFFERS] if wanted.milestone_differs else []


def _within(table: Table, wanted: TrackerFilter, last_at: int | None) -> list[ColumnElement[bool]]:
    """Return the bounds; one upper one: an index begins at one only, and others would be asked of each row."""
    since = [] if wanted.moved_after is None else [table.c.moved_at >= wanted.moved_after]
    return since if last_at is None else [*since, table.c.moved_at <= last_at]


def _last_at(wanted: TrackerFilter, behind: _Behind | None) -> int | None:
    until = wanted.until()
    bounds = [*([] if until is None else [until - 1]), *([] if behind is None else [behind.moved_at])]
    return min(bounds, default=None)


def _step_through(table: Table, wanted: TrackerFilter) -> CTE:
    """Find the pairs that there are, each by one step into the index; the last step from each source finds none: its NULL."""
    sources = _find_sources(table, wanted)
    if wanted.milestone is not None:
        return select(sources.c.source, literal(wanted.milestone, Text).label("milestone")).cte("groups")
    kind = _kind(wanted)
    least = select(func.min(table.c.status_milestone)).where(table.c.source == sources.c.source, *kind).scalar_subquery()
    first = select(sources.c.source, least.label("milestone")).where(sources.c.source.is_not(None))
    groups = first.cte("groups", recursive=True)
    further = table.c.source == groups.c.source, table.c.status_milestone > groups.c.milestone
    following = select(func.min(table.c.status_milestone)).where(*further, *kind).scalar_subquery()
    return groups.union_all(select(groups.c.source, following).where(groups.c.milestone.is_not(None)))


def _find_sources(table: Table, wanted: TrackerFilter) -> CTE:
    if wanted.source is not None:
        return select(literal(wanted.source, Text).label("source")).cte("sources")
    sources = select(func.min(table.c.source).label("source")).cte("sources", recursive=True)
    following = select(func.min(table.c.source)).where(table.c.source > sources.c.source).scalar_subquery()
    return sources.union_all(select(following).where(sources.c.source.is_not(None)))


def _latest(table: Table, groups: CTE, within: list[ColumnElement[bool]], kind: list[TextClause]) -> ColumnElement[Any]:
    first = _in_order(table, select(table.c.moved_at).where(table.c.source == groups.c.source, *within, *kind)).limit(1)
    named = first.where(table.c.status_milestone == groups.c.milestone).correlate(groups).scalar_subquery()
    nameless = first.where(table.c.status_milestone.is_(None)).correlate(groups).scalar_subquery()
    return case((groups.c.milestone.is_(None), nameless), else_=named)


def _select_group(wanted: TrackerFilter, group: _Group, behind: _Behind | None) -> Select[Any]:
    table = table_of(TrackerTable)
    last_at = _last_at(wanted, behind)
    within = _within(table, wanted, last_at)
    if behind is not None and behind.moved_at == last_at:  # what moved at that moment was given before, up to the key behind
        if group < behind.group:
            within = _within(table, wanted, last_at - 1)
        elif group == behind.group:
            within = _within(table, wanted, None)
            within.append(tuple_(table.c.moved_at, table.c.tracker_id) < (last_at, behind.tracker_id))
    of_group = table.c.source == group.source, table.c.status_milestone == group.milestone  # for None it reads IS NULL
    return _in_order(table, select(table.c.tracker_id, table.c.moved_at).where(*of_group, *within, *_kind(wanted)))


def _in_order(table: Table, statement: Select[Any]) -> Select[Any]:
    """Sort as the index does, with the milestone: PostgreSQL does not know that all NULLs are one group."""
    return statement.order_by(table.c.status_milestone.desc(), table.c.moved_at.desc(), table.c.tracker_id.desc())
