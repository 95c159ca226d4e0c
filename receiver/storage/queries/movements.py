"""Lists of trackers by the time of their last change.

An index has this order for each group of trackers with the same source and milestone, and a page merges the groups. It costs one
step into the index for each group, so it takes longer the more milestones senders use. Trackers whose sender's own view differs,
those of tests, and packages whose manifest is not completed, have an index of their own with the same columns.
"""

from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    RowMapping,
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
from receiver.storage.queries.states import FINAL_MILESTONES, PACKAGE_SOURCE, TrackerFilter, read_states
from receiver.storage.tables.ledger import IS_OPEN_PACKAGE, IS_TEST, MILESTONE_DIFFERS, TrackerTable
from receiver.storage.tables.metadata import table_of


class _Group(NamedTuple):
    """The trackers with one source and milestone. `mark` is the milestone after `=`, or empty for none.

    Groups sort by code points here, independently of the database's own order.
    """

    source: str
    mark: str

    @property
    def milestone(self) -> str | None:
        return self.mark[1:] or ("" if self.mark else None)


class TrackerPosition(NamedTuple):
    """A tracker in the order of a list. Trackers that changed at the same time are sorted by group."""

    moved_at: int
    group: _Group
    tracker_id: str


def list_by_movement(connection: Connection, wanted: TrackerFilter, limit: int, cursor: str | None) -> ResultPage:
    """Return trackers, by default those that changed last first.

    Trackers whose sender's own view does not differ, and real ones, have no index of their own: if they are wanted, the others
    are removed from the page, which may then be short.
    """
    found = list_positions(connection, wanted, limit + 1, _read_cursor(cursor))
    page = found[:limit]
    states = read_states(connection, [(group.source, tracker_id) for _, group, tracker_id in page])
    items = [public(states[group.source, tracker_id]) for _, group, tracker_id in page]
    if wanted.milestone_differs is False:
        items = [item for item in items if not item["milestone_differs"]]
    if wanted.test is False:
        items = [item for item in items if item["test_run"] is None]
    if len(found) <= limit:
        return ResultPage(items, None)
    return ResultPage(items, _write_cursor(page[-1]))


def list_positions(
    connection: Connection, wanted: TrackerFilter, limit: int, after: TrackerPosition | None
) -> list[TrackerPosition]:
    """Return up to `limit` trackers after a position, by default those that changed last first. Reads an index only."""
    found: list[TrackerPosition] = []
    for first_at, group in _find_groups(connection, wanted, after):
        if len(found) == limit:
            if _is_after(wanted, first_at, found[-1].moved_at):
                break  # this group and the later ones have nothing for this page
            wanted = _end_at(wanted, found[-1].moved_at)
        statement = _select_group(wanted, group, after).limit(limit)
        found += [TrackerPosition(moved_at, group, tracker_id) for tracker_id, moved_at in connection.execute(statement)]
        _sort(found, wanted)
        del found[limit:]
    return found


def write_place(row: RowMapping) -> str:
    """Return the cursor of the page that starts after a tracker."""
    return _write_cursor(TrackerPosition(row["moved_at"], _group_of(row["source"], row["status_milestone"]), row["tracker_id"]))


def _group_of(source: str, milestone: str | None) -> _Group:
    return _Group(source, "" if milestone is None else f"={milestone}")


def _write_cursor(last: TrackerPosition) -> str:
    return write_cursor(last.moved_at, *last.group, last.tracker_id)


def _is_after(wanted: TrackerFilter, moved_at: int, other: int) -> bool:
    """Tell whether trackers that changed at one time are listed after those of another."""
    return moved_at > other if wanted.sort == "oldest" else moved_at < other


def _end_at(wanted: TrackerFilter, moved_at: int) -> TrackerFilter:
    """Return the filter without trackers that are listed after those that changed at a time."""
    if wanted.sort == "newest":
        return wanted._replace(moved_after=moved_at)
    until = wanted.until()
    return wanted._replace(moved_before=moved_at + 1 if until is None else min(until, moved_at + 1))


def _sort(found: list[TrackerPosition], wanted: TrackerFilter) -> None:
    """Sort by time, then by group. Each group stays in the database's order."""
    is_oldest_first = wanted.sort == "oldest"
    found.sort(key=lambda tracker: tracker.group, reverse=is_oldest_first)
    found.sort(key=lambda tracker: tracker.moved_at, reverse=not is_oldest_first)


def _read_cursor(cursor: str | None) -> TrackerPosition | None:
    key = read_cursor(cursor, int, str, str, str)
    return None if key is None else TrackerPosition(key[0], _Group(key[1], key[2]), key[3])


def _find_groups(connection: Connection, wanted: TrackerFilter, after: TrackerPosition | None) -> list[tuple[int, _Group]]:
    """Return the groups with a tracker in range, each with the time of its first tracker, in the order of the list."""
    filters = [wanted]
    if wanted.stuck_since is not None and wanted.source is None:
        filters.append(wanted._replace(source=PACKAGE_SOURCE))
    rows = [row for one in filters for row in connection.execute(_select_first_of_groups(one, after))]
    found = [(row.first_at, _group_of(row.source, row.milestone)) for row in rows]
    return sorted(found, reverse=wanted.sort == "newest")


def _select_first_of_groups(wanted: TrackerFilter, after: TrackerPosition | None) -> Select[Any]:
    """Select the groups with a tracker in range, each with the time of its first tracker.

    In lists of stuck trackers, those of packages and manifests are selected by their source alone: they are in another index.
    """
    table = table_of(TrackerTable)
    kind = _which_index(wanted, wanted.source)
    groups = _select_groups(table, wanted, kind)
    first_at = _select_first(table, groups, wanted, after, kind)
    statement = select(groups.c.source, groups.c.milestone, first_at.label("first_at")).where(first_at.is_not(None))
    if wanted.stuck_since is not None:
        statement = statement.where(or_(groups.c.milestone.is_(None), groups.c.milestone.not_in(FINAL_MILESTONES)))
        if wanted.source is None:
            statement = statement.where(groups.c.source != PACKAGE_SOURCE)
    return statement


def _which_index(wanted: TrackerFilter, source: str | None) -> list[TextClause]:
    """Return the conditions that select a partial index."""
    is_open = wanted.stuck_since is not None and source == PACKAGE_SOURCE
    return [
        *([MILESTONE_DIFFERS] if wanted.milestone_differs else []),
        *([IS_TEST] if wanted.test else []),
        *([IS_OPEN_PACKAGE] if is_open else []),
    ]


def _find_range(wanted: TrackerFilter, after: TrackerPosition | None) -> tuple[int | None, int | None]:
    """Return the first and the last time of a change that the rest of the list has."""
    until = wanted.until()
    low, high = wanted.moved_after, None if until is None else until - 1
    if after is None:
        return low, high
    if wanted.sort == "oldest":
        return after.moved_at if low is None else max(low, after.moved_at), high
    return low, after.moved_at if high is None else min(high, after.moved_at)


def _within(table: Table, low: int | None, high: int | None) -> list[ColumnElement[bool]]:
    """Return the bounds, one at each end: an index starts at one, and further ones would be checked on each row."""
    moved_at = table.c.moved_at
    return [*([] if low is None else [moved_at >= low]), *([] if high is None else [moved_at <= high])]


def _select_groups(table: Table, wanted: TrackerFilter, kind: list[TextClause]) -> CTE:
    """Select the existing pairs of source and milestone, each by one step into the index, and NULL for each source."""
    sources = _find_sources(table, wanted)
    if wanted.milestone is not None:
        return select(sources.c.source, literal(wanted.milestone, Text).label("milestone")).cte("groups")
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


def _select_first(
    table: Table, groups: CTE, wanted: TrackerFilter, after: TrackerPosition | None, kind: list[TextClause]
) -> ColumnElement[Any]:
    """Select the time of the first tracker of each group in range."""
    within = _within(table, *_find_range(wanted, after))
    of_source = select(table.c.moved_at).where(table.c.source == groups.c.source, *within, *kind)
    first = _in_order(table, of_source, wanted).limit(1)
    named = first.where(table.c.status_milestone == groups.c.milestone).correlate(groups).scalar_subquery()
    nameless = first.where(table.c.status_milestone.is_(None)).correlate(groups).scalar_subquery()
    return case((groups.c.milestone.is_(None), nameless), else_=named)


def _select_group(wanted: TrackerFilter, group: _Group, after: TrackerPosition | None) -> Select[Any]:
    table = table_of(TrackerTable)
    inside = table.c.source == group.source, table.c.status_milestone == group.milestone  # IS NULL for None
    rest = _after(table, wanted, group, after)
    columns = table.c.tracker_id, table.c.moved_at
    return _in_order(table, select(*columns).where(*inside, *rest, *_which_index(wanted, group.source)), wanted)


def _after(table: Table, wanted: TrackerFilter, group: _Group, after: TrackerPosition | None) -> list[ColumnElement[bool]]:
    """Return the bounds of a group: what the page before has shown is left out."""
    low, high = _find_range(wanted, after)
    is_oldest_first = wanted.sort == "oldest"
    if after is None or after.moved_at != (low if is_oldest_first else high):
        return _within(table, low, high)
    if group == after.group:
        key, last = tuple_(table.c.moved_at, table.c.tracker_id), (after.moved_at, after.tracker_id)
        return [*_within(table, None, high), key > last] if is_oldest_first else [*_within(table, low, None), key < last]
    if is_oldest_first and group > after.group:
        return _within(table, after.moved_at + 1, high)
    if not is_oldest_first and group < after.group:
        return _within(table, low, after.moved_at - 1)
    return _within(table, low, high)


def _in_order(table: Table, statement: Select[Any], wanted: TrackerFilter) -> Select[Any]:
    """Sort in the order of the index, milestone included: PostgreSQL does not know that all rows with NULL are one group."""
    columns = table.c.status_milestone, table.c.moved_at, table.c.tracker_id
    return statement.order_by(*(columns if wanted.sort == "oldest" else [column.desc() for column in columns]))
