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


class _LastShown(NamedTuple):
    """The last tracker of the page before. Trackers that changed at the same time are sorted by group."""

    moved_at: int
    group: _Group
    tracker_id: str


def list_by_movement(connection: Connection, wanted: TrackerFilter, limit: int, cursor: str | None) -> ResultPage:
    """Return trackers, those that changed last first.

    Trackers whose sender's own view does not differ, and real ones, have no index of their own: if they are wanted, the others
    are removed from the page, which may then be short.
    """
    after = _read_cursor(cursor)
    found: list[tuple[int, _Group, str]] = []
    for latest_at, group in _find_groups(connection, wanted, after):
        if len(found) > limit:
            if found[limit][0] > latest_at:
                break  # this group and the later ones have nothing for this page
            wanted = wanted._replace(moved_after=found[limit][0])
        statement = _select_group(wanted, group, after).limit(limit + 1)
        found += [(moved_at, group, tracker_id) for tracker_id, moved_at in connection.execute(statement)]
        found.sort(key=lambda entry: (-entry[0], entry[1]))  # stable: each group stays in the database's order
        del found[limit + 1 :]
    page = found[:limit]
    states = read_states(connection, [(group.source, tracker_id) for _, group, tracker_id in page])
    items = [public(states[group.source, tracker_id]) for _, group, tracker_id in page]
    if wanted.milestone_differs is False:
        items = [item for item in items if not item["milestone_differs"]]
    if wanted.test is False:
        items = [item for item in items if item["test_run"] is None]
    if len(found) <= limit:
        return ResultPage(items, None)
    moved_at, group, tracker_id = page[-1]
    return ResultPage(items, write_cursor(moved_at, *group, tracker_id))


def _read_cursor(cursor: str | None) -> _LastShown | None:
    key = read_cursor(cursor, int, str, str, str)
    return None if key is None else _LastShown(key[0], _Group(key[1], key[2]), key[3])


def _find_groups(connection: Connection, wanted: TrackerFilter, after: _LastShown | None) -> list[tuple[int, _Group]]:
    """Return the groups with a tracker in range, each with the time of its latest change, latest first."""
    filters = [wanted]
    if wanted.stuck_since is not None and wanted.source is None:
        filters.append(wanted._replace(source=PACKAGE_SOURCE))
    rows = [row for one in filters for row in connection.execute(_select_latest(one, after))]
    found = [(row.latest_at, _Group(row.source, "" if row.milestone is None else f"={row.milestone}")) for row in rows]
    return sorted(found, reverse=True)


def _select_latest(wanted: TrackerFilter, after: _LastShown | None) -> Select[Any]:
    """Select the groups with a tracker in range, each with the time of its latest change.

    In lists of stuck trackers, those of packages and manifests are selected by their source alone: they are in another index.
    """
    table = table_of(TrackerTable)
    kind = _which_index(wanted, wanted.source)
    groups = _select_groups(table, wanted, kind)
    latest_at = _latest(table, groups, _within(table, wanted, _last_at(wanted, after)), kind)
    statement = select(groups.c.source, groups.c.milestone, latest_at.label("latest_at")).where(latest_at.is_not(None))
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


def _within(table: Table, wanted: TrackerFilter, last_at: int | None) -> list[ColumnElement[bool]]:
    """Return the bounds, with one upper bound: an index starts at one, and further ones would be checked on each row."""
    since = [] if wanted.moved_after is None else [table.c.moved_at >= wanted.moved_after]
    return since if last_at is None else [*since, table.c.moved_at <= last_at]


def _last_at(wanted: TrackerFilter, after: _LastShown | None) -> int | None:
    until = wanted.until()
    bounds = [*([] if until is None else [until - 1]), *([] if after is None else [after.moved_at])]
    return min(bounds, default=None)


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


def _latest(table: Table, groups: CTE, within: list[ColumnElement[bool]], kind: list[TextClause]) -> ColumnElement[Any]:
    first = _in_order(table, select(table.c.moved_at).where(table.c.source == groups.c.source, *within, *kind)).limit(1)
    named = first.where(table.c.status_milestone == groups.c.milestone).correlate(groups).scalar_subquery()
    nameless = first.where(table.c.status_milestone.is_(None)).correlate(groups).scalar_subquery()
    return case((groups.c.milestone.is_(None), nameless), else_=named)


def _select_group(wanted: TrackerFilter, group: _Group, after: _LastShown | None) -> Select[Any]:
    table = table_of(TrackerTable)
    last_at = _last_at(wanted, after)
    within = _within(table, wanted, last_at)
    if after is not None and after.moved_at == last_at:  # trackers of that time up to this key were shown on the page before
        if group < after.group:
            within = _within(table, wanted, last_at - 1)
        elif group == after.group:
            within = _within(table, wanted, None)
            within.append(tuple_(table.c.moved_at, table.c.tracker_id) < (last_at, after.tracker_id))
    of_group = table.c.source == group.source, table.c.status_milestone == group.milestone  # IS NULL for None
    return _in_order(
        table, select(table.c.tracker_id, table.c.moved_at).where(*of_group, *within, *_which_index(wanted, group.source))
    )


def _in_order(table: Table, statement: Select[Any]) -> Select[Any]:
    """Sort in the order of the index, milestone included: PostgreSQL does not know that all rows with NULL are one group."""
    return statement.order_by(table.c.status_milestone.desc(), table.c.moved_at.desc(), table.c.tracker_id.desc())
