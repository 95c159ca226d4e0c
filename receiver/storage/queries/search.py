"""Trackers by what they are called: numbers, ids, references."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, RowMapping, Select, TextClause, and_, select, tuple_

from receiver.storage.queries.pages import ResultPage, public, read_cursor, write_cursor
from receiver.storage.queries.states import TrackerFilter, conditions, read_states
from receiver.storage.tables.ledger import SearchTermTable, TrackerTable
from receiver.storage.tables.metadata import table_of

_SEEN_TERMS = 1000  # what one page looks at when there are other filters; without, as many as fill it
_NAMES = ("tracker_id", "tracking_number", "client_tracker_id", "shipment_reference")


def search_trackers(connection: Connection, wanted: TrackerFilter, term: str, limit: int, cursor: str | None) -> ResultPage:
    """Return the trackers that `term` names, in the order of their terms.

    One that several terms lead to comes with the first of its present names, or, if none of these matches, with a former one.
    """
    narrow = _narrow(wanted)
    share = _SEEN_TERMS if narrow else (limit + 1) * len(_NAMES)
    terms = _select_terms(wanted, term, read_cursor(cursor, str, str, str)).limit(share)
    found = connection.execute(terms).all()
    chosen = connection.execute(_choose(terms, narrow)).all() if narrow and found else found
    items: dict[tuple[str, str], dict[str, Any]] = {}
    for row, state in _join(connection, chosen, limit + 1):
        if not _is_place(wanted, state, term, row.term):
            continue
        items.setdefault((row.source, row.tracker_id), public(state))
        if len(items) == limit:
            more = row != found[-1] or len(found) == share
            return ResultPage([*items.values()], write_cursor(*row) if more else None)
    return ResultPage([*items.values()], write_cursor(*found[-1]) if len(found) == share else None)


def _select_terms(wanted: TrackerFilter, term: str, behind: tuple[Any, ...] | None) -> Select[Any]:
    """Select from one bound on: an index begins at one only, and others would be asked of each row."""
    terms = table_of(SearchTermTable)
    key = (terms.c.term, terms.c.source, terms.c.tracker_id)
    statement = select(*key).order_by(*key)
    if wanted.exact:
        statement = statement.where(terms.c.term == term)
        return statement.where(tuple_(*key[1:]) > behind[1:]) if behind and behind[0] == term else statement
    end = _end_of(term)
    if end is not None:
        statement = statement.where(terms.c.term < end)
    return statement.where(tuple_(*key) > behind if behind and behind[0] >= term else terms.c.term >= term)


def _end_of(term: str) -> str | None:
    """Return the first text behind all that begin with `term`, by code points; None if there is none."""
    stem = term.rstrip("\U0010ffff")
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)  # halves of surrogate pairs are no letters


def _narrow(wanted: TrackerFilter) -> list[ColumnElement[bool] | TextClause]:
    until = wanted.until()
    return [*conditions(wanted), *([] if until is None else [table_of(TrackerTable).c.moved_at < until])]


def _choose(terms: Select[Any], narrow: Sequence[ColumnElement[bool] | TextClause]) -> Select[Any]:
    """Select those of the terms whose trackers fulfil `narrow`."""
    trackers, seen = table_of(TrackerTable), terms.subquery()
    is_named = and_(trackers.c.source == seen.c.source, trackers.c.tracker_id == seen.c.tracker_id)
    return select(seen).join(trackers, is_named).where(*narrow).order_by(*seen.c)


def _join(connection: Connection, terms: Sequence[Row[Any]], size: int) -> Iterator[tuple[Row[Any], RowMapping]]:
    """Give terms with their trackers, read as many at once as a page needs."""
    for start in range(0, len(terms), size):
        part = terms[start : start + size]
        states = read_states(connection, [(row.source, row.tracker_id) for row in part])
        yield from ((row, states[row.source, row.tracker_id]) for row in part if (row.source, row.tracker_id) in states)


def _is_place(wanted: TrackerFilter, state: RowMapping, term: str, place: str) -> bool:
    names = [state[name].casefold() for name in _NAMES if state[name]]
    matching = [name for name in names if (name == term if wanted.exact else name.startswith(term))]
    return not matching or place == min(matching)
