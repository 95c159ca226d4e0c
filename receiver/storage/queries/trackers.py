"""What is known of parcels: lists by what moved last, search by number or reference, timelines."""

from collections.abc import Iterator, Sequence
from functools import cmp_to_key
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Table, and_, or_, select, union_all

from receiver.errors import NotFound
from receiver.occurrence import Moment, compare, read_occurrence
from receiver.storage.database import Database
from receiver.storage.queries.pages import Page, public, read_cursor, write_cursor
from receiver.storage.tables import EventTable, LinkTable, TermTable, TrackerTable, table_of

FINAL_MILESTONES = ("delivered", "completed")
"""Where nothing more is expected: Ship24's parcels, Shiipp's manifests (domain vocabularies of the two)."""

MAX_EVENTS = 1000
"""Of a timeline, at once; of a longer one those that arrived last."""

_LAST_LETTER = "\U0010ffff"
_SEEN_TERMS = 2000  # what one page of a search looks at
_GROUPS_AT_ONCE = 400  # parts of one compound statement


class TrackerFilter(NamedTuple):
    """Which trackers are wanted; all that is set must hold. Moments in microseconds.

    `search` is the beginning (with `exact`, the whole) of a number, an id or a reference, without case. `stuck_since` means: not
    at a final milestone, and not moved since then.
    """

    search: str | None = None
    source: str | None = None
    milestone: str | None = None
    moved_before: int | None = None
    moved_after: int | None = None
    stuck_since: int | None = None
    exact: bool = False


def list_trackers(database: Database, wanted: TrackerFilter, limit: int = 50, cursor: str | None = None) -> Page:
    """Return trackers, last moved first; those that were searched for stand in the order of the terms that match."""
    with database.read() as connection:
        if wanted.search is not None:
            return _search(connection, wanted, wanted.search.casefold(), limit, cursor)
        return _list(connection, wanted, limit, cursor)


def show_tracker(database: Database, source: str, tracker_id: str) -> dict[str, Any]:
    """Return a tracker and its events, newest occurrence first. Raises NotFound."""
    trackers, events = table_of(TrackerTable), table_of(EventTable)
    with database.read() as connection:
        state = connection.execute(select(trackers).where(_is(trackers, source, tracker_id))).mappings().first()
        if state is None:
            raise NotFound(f"There is no tracker {tracker_id} of {source}.")
        last_arrived = select(events).where(_is(events, source, tracker_id)).order_by(events.c.received_at.desc())
        timeline = connection.execute(last_arrived.limit(MAX_EVENTS)).mappings().all()
        manifest, packages = _linked(connection, source, tracker_id)
    shipment = orjson.loads(state["shipment"]) if state["shipment"] else None
    tracker = {**public(state), "shipment": shipment, "manifest": manifest, "packages": packages}
    return {"tracker": tracker, "events": [public(row) for row in _newest_first(timeline)]}


def _list(connection: Connection, wanted: TrackerFilter, limit: int, cursor: str | None) -> Page:
    """Merge the groups of one source and milestone: in each the index has the trackers in the order in which they moved."""
    table = table_of(TrackerTable)
    behind = read_cursor(cursor, int, str, str)
    groups = [_read_group(table, wanted, group, behind, limit + 1) for group in _find_groups(connection, table, wanted)]
    found: list[Any] = []
    for start in range(0, len(groups), _GROUPS_AT_ONCE):
        keys = union_all(*groups[start : start + _GROUPS_AT_ONCE]).subquery()
        order = (keys.c.moved_at.desc(), keys.c.tracker_id.desc(), keys.c.source.desc())  # the database's own order of texts
        found += connection.execute(select(keys).order_by(*order).limit(limit + 1))
    found.sort(key=lambda row: row.moved_at, reverse=True)
    page = found[:limit]
    states = _read_states(connection, [(row.source, row.tracker_id) for row in page])
    items = [public(states[row.source, row.tracker_id]) for row in page]
    return Page(items, write_cursor(page[-1].moved_at, page[-1].tracker_id, page[-1].source) if len(found) > limit else None)


def _find_groups(connection: Connection, table: Table, wanted: TrackerFilter) -> Iterator[tuple[str, str | None]]:
    """Give the pairs of source and milestone that there are, each by one step into the index."""
    sources = [wanted.source] if wanted.source is not None else list(_step_through(connection, table.c.source, []))
    for source in sources:
        if wanted.milestone is not None:
            yield source, wanted.milestone
            continue
        yield source, None
        for milestone in _step_through(connection, table.c.status_milestone, [table.c.source == source]):
            if wanted.stuck_since is None or milestone not in FINAL_MILESTONES:
                yield source, milestone


def _step_through(connection: Connection, column: ColumnElement[str], narrow: list[ColumnElement[bool]]) -> Iterator[str]:
    statement = select(column).where(column.is_not(None), *narrow).order_by(column).limit(1)
    value = connection.execute(statement).scalar()
    while value is not None:
        yield value
        value = connection.execute(statement.where(column > value)).scalar()


def _read_group(
    table: Table, wanted: TrackerFilter, group: tuple[str, str | None], behind: tuple[Any, ...] | None, limit: int
) -> Select[Any]:
    source, milestone = group
    moved_at, tracker_id = table.c.moved_at, table.c.tracker_id
    statement = select(table.c.source, tracker_id, moved_at).where(
        table.c.source == source,
        table.c.status_milestone.is_(None) if milestone is None else table.c.status_milestone == milestone,
    )
    for before in (wanted.moved_before, wanted.stuck_since):
        if before is not None:
            statement = statement.where(moved_at < before)
    if wanted.moved_after is not None:
        statement = statement.where(moved_at >= wanted.moved_after)
    if behind is not None:
        also = tracker_id <= behind[1] if source < behind[2] else tracker_id < behind[1]
        statement = statement.where(moved_at <= behind[0], or_(moved_at < behind[0], also))
    part = statement.order_by(moved_at.desc(), tracker_id.desc()).limit(limit).subquery()
    return select(part)


def _search(connection: Connection, wanted: TrackerFilter, term: str, limit: int, cursor: str | None) -> Page:
    """Read the terms that match, in their order, and the trackers behind them; one that has several comes with its first."""
    terms = table_of(TermTable)
    matches = terms.c.term == term if wanted.exact else and_(terms.c.term >= term, terms.c.term < term + _LAST_LETTER)
    key = [terms.c.term, terms.c.source, terms.c.tracker_id]
    behind = read_cursor(cursor, str, str, str)
    seen = select(*key).where(matches).order_by(*key).limit(_SEEN_TERMS)
    if wanted.source is not None:
        seen = seen.where(terms.c.source == wanted.source)
    if behind is not None:
        later = or_(key[1] > behind[1], and_(key[1] == behind[1], key[2] > behind[2]))
        seen = seen.where(key[0] >= behind[0], or_(key[0] > behind[0], later))
    found = connection.execute(seen).all()
    items: dict[tuple[str, str], dict[str, Any]] = {}
    for start in range(0, len(found), limit + 1):
        part = found[start : start + limit + 1]
        states = _read_states(connection, [(row.source, row.tracker_id) for row in part])
        for row in part:
            state = states.get((row.source, row.tracker_id))
            if state is None or not _holds(wanted, state) or _first_term(state, term) < row.term:
                continue
            items.setdefault((row.source, row.tracker_id), public(state))
            if len(items) == limit:
                more = row != found[-1] or len(found) == _SEEN_TERMS
                return Page([*items.values()], write_cursor(*row) if more else None)
    return Page([*items.values()], write_cursor(*found[-1]) if len(found) == _SEEN_TERMS else None)


def _first_term(state: RowMapping, term: str) -> str:
    names = (state["tracker_id"], state["tracking_number"], state["client_tracker_id"], state["shipment_reference"])
    return min((name.casefold() for name in names if name and name.casefold().startswith(term)), default=_LAST_LETTER)


def _read_states(connection: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], RowMapping]:
    table = table_of(TrackerTable)
    found: dict[tuple[str, str], RowMapping] = {}
    for source in {source for source, _ in keys}:
        ids = [tracker_id for of, tracker_id in keys if of == source]
        statement = select(table).where(table.c.source == source, table.c.tracker_id.in_(ids))
        found |= {(source, row["tracker_id"]): row for row in connection.execute(statement).mappings()}
    return found


def _holds(wanted: TrackerFilter, state: RowMapping) -> bool:
    milestone, moved_at = state["status_milestone"], state["moved_at"]
    return (
        wanted.milestone in {None, milestone}
        and (wanted.moved_before is None or moved_at < wanted.moved_before)
        and (wanted.moved_after is None or moved_at >= wanted.moved_after)
        and (wanted.stuck_since is None or (moved_at < wanted.stuck_since and milestone not in FINAL_MILESTONES))
    )


def _linked(connection: Connection, source: str, tracker_id: str) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the manifest that a package travels with (None: none is known), and a manifest's packages."""
    links, trackers = table_of(LinkTable), table_of(TrackerTable)
    latest = select(links.c.manifest).where(links.c.source == source, links.c.package == tracker_id)
    manifest_id = connection.execute(latest).scalar()
    travelling = select(links.c.package).where(links.c.source == source, links.c.manifest == tracker_id)
    packages = [str(package) for package in connection.execute(travelling.order_by(links.c.package)).scalars()]
    if manifest_id is None:
        return None, packages
    names = ("tracker_id", "tracking_number", "status", "latest_occurrence", "applied_at")
    columns = [trackers.c[name] for name in names]
    row = connection.execute(select(*columns).where(_is(trackers, source, manifest_id))).mappings().first()
    return (public(row) if row is not None else {"tracker_id": manifest_id, "status": None}), packages


def _is(table: Table, source: str, tracker_id: str) -> ColumnElement[bool]:
    return and_(table.c.source == source, table.c.tracker_id == tracker_id)


def _newest_first(events: Sequence[RowMapping]) -> list[RowMapping]:
    """Sort as the verdicts do; what arrived last stands first where those see no difference."""

    def moment(row: RowMapping) -> Moment:
        return Moment(read_occurrence(row["occurrence"]), row["order"])

    def newer_first(one: RowMapping, other: RowMapping) -> int:
        return compare(moment(other), moment(one))

    by_arrival: list[RowMapping] = sorted(events, key=lambda row: (row["received_at"], row["event_id"]), reverse=True)
    return sorted(by_arrival, key=cmp_to_key(newer_first))
