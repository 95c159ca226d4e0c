"""Trackers by what moved last: the groups of one source and milestone merged, in each of which one index has that order."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, Connection, Select, Table, Text, case, func, literal, or_, select, tuple_, union_all

from receiver.storage.queries.pages import Page, public, write_cursor
from receiver.storage.queries.states import FINAL_MILESTONES, TrackerFilter, read_states
from receiver.storage.tables import TrackerTable, table_of

_Key = tuple[int, str, str]


def list_by_movement(connection: Connection, wanted: TrackerFilter, limit: int, behind: _Key | None) -> Page:
    """Return the trackers behind a key (moved at, id, source), last moved first."""
    table = table_of(TrackerTable)
    within = _within(table, wanted, behind)
    groups = connection.execute(_select_groups(table, wanted, within, limit + 1)).all()
    if not groups:
        return Page([], None)
    parts = [_select_group(table, group.source, group.milestone, within, limit + 1) for group in groups]
    keys = union_all(*parts).subquery()
    order = keys.c.moved_at.desc(), keys.c.tracker_id.desc(), keys.c.source.desc()
    found = connection.execute(select(keys).order_by(*order).limit(limit + 1)).all()
    page = found[:limit]
    states = read_states(connection, [(row.source, row.tracker_id) for row in page])
    items = [public(states[row.source, row.tracker_id]) for row in page]
    return Page(items, write_cursor(page[-1].moved_at, page[-1].tracker_id, page[-1].source) if len(found) > limit else None)


def _within(table: Table, wanted: TrackerFilter, behind: _Key | None) -> list[ColumnElement[bool]]:
    """Return the bounds in each group; one upper one: an index begins at one only, and others would be asked of each row."""
    moved_at, tracker_id, until = table.c.moved_at, table.c.tracker_id, wanted.until()
    within = [] if wanted.moved_after is None else [moved_at >= wanted.moved_after]
    if behind is None or (until is not None and until <= behind[0]):
        return within if until is None else [*within, moved_at < until]
    last_moved_at, last_id, last_source = behind
    is_other = or_(moved_at != last_moved_at, tracker_id != last_id, table.c.source < last_source)
    return [*within, tuple_(moved_at, tracker_id) <= (last_moved_at, last_id), is_other]


def _select_groups(table: Table, wanted: TrackerFilter, within: list[ColumnElement[bool]], limit: int) -> Select[Any]:
    """Select the pairs of source and milestone with the latest trackers: the first ones of so many groups fill any page."""
    groups = _step_through(table, wanted)
    latest = [_latest(table, groups, within, column) for column in (table.c.moved_at, table.c.tracker_id)]
    statement = select(groups.c.source, groups.c.milestone).where(latest[0].is_not(None))
    if wanted.stuck_since is not None:
        statement = statement.where(or_(groups.c.milestone.is_(None), groups.c.milestone.not_in(FINAL_MILESTONES)))
    return statement.order_by(latest[0].desc(), latest[1].desc(), groups.c.source.desc()).limit(limit)


def _step_through(table: Table, wanted: TrackerFilter) -> CTE:
    """Find the pairs that there are, each by one step into the index; the last step from each source finds none: its NULL."""
    sources = _find_sources(table, wanted)
    if wanted.milestone is not None:
        return select(sources.c.source, literal(wanted.milestone, Text).label("milestone")).cte("groups")
    least = select(func.min(table.c.status_milestone)).where(table.c.source == sources.c.source).scalar_subquery()
    first = select(sources.c.source, least.label("milestone")).where(sources.c.source.is_not(None))
    groups = first.cte("groups", recursive=True)
    further = table.c.source == groups.c.source, table.c.status_milestone > groups.c.milestone
    following = select(func.min(table.c.status_milestone)).where(*further).scalar_subquery()
    return groups.union_all(select(groups.c.source, following).where(groups.c.milestone.is_not(None)))


def _find_sources(table: Table, wanted: TrackerFilter) -> CTE:
    if wanted.source is not None:
        return select(literal(wanted.source, Text).label("source")).cte("sources")
    sources = select(func.min(table.c.source).label("source")).cte("sources", recursive=True)
    following = select(func.min(table.c.source)).where(table.c.source > sources.c.source).scalar_subquery()
    return sources.union_all(select(following).where(sources.c.source.is_not(None)))


def _latest(table: Table, groups: CTE, within: list[ColumnElement[bool]], column: ColumnElement[Any]) -> ColumnElement[Any]:
    first = _in_order(table, select(column).where(table.c.source == groups.c.source, *within)).limit(1)
    named = first.where(table.c.status_milestone == groups.c.milestone).correlate(groups).scalar_subquery()
    nameless = first.where(table.c.status_milestone.is_(None)).correlate(groups).scalar_subquery()
    return case((groups.c.milestone.is_(None), nameless), else_=named)


def _select_group(table: Table, source: str, milestone: str | None, within: list[ColumnElement[bool]], limit: int) -> Select[Any]:
    of_group = table.c.source == source, table.c.status_milestone == milestone  # for None it reads IS NULL
    part = select(table.c.source, table.c.tracker_id, table.c.moved_at).where(*of_group, *within)
    return select(_in_order(table, part).limit(limit).subquery())


def _in_order(table: Table, statement: Select[Any]) -> Select[Any]:
    """Sort as the index does, with the milestone: PostgreSQL does not know that all NULLs are one group."""
    return statement.order_by(table.c.status_milestone.desc(), table.c.moved_at.desc(), table.c.tracker_id.desc())
