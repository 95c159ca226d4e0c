"""Search for trackers by number, id or reference."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, RowMapping, Select, TextClause, and_, func, select, tuple_

from receiver.storage.queries.pages import ResultPage, public, read_cursor, write_cursor
from receiver.storage.queries.states import TrackerFilter, conditions, read_states
from receiver.storage.tables.ledger import ENDING, ENDING_CHARACTERS, HAS_ENDING, SearchTermTable, TrackerTable
from receiver.storage.tables.metadata import table_of

_SEEN_TERMS = 1000  # terms that one page reads if there are other filters; without them, as many as fill it
_NAMES = ("tracker_id", "tracking_number", "client_tracker_id", "shipment_reference")


def search_trackers(connection: Connection, wanted: TrackerFilter, term: str, limit: int, cursor: str | None) -> ResultPage:
    """Return the trackers with a matching search term, in the order of the terms.

    A tracker with several matching terms appears at the first of its present names, or at a former name if no present one
    matches.
    """
    narrow = _narrow(wanted)
    share = _SEEN_TERMS if narrow else (limit + 1) * len(_NAMES)
    terms = _select_terms(wanted, term, read_cursor(cursor, str, str, str)).limit(share)
    found = connection.execute(terms).all()
    chosen = connection.execute(_choose(terms, narrow)).all() if narrow and found else found
    items: dict[tuple[str, str], dict[str, Any]] = {}
    for row, state in _join(connection, chosen, limit + 1):
        if not _is_shown_at(row.term, wanted, state, term):
            continue
        items.setdefault((row.source, row.tracker_id), public(state))
        if len(items) == limit:
            more = row != found[-1] or len(found) == share
            return ResultPage([*items.values()], write_cursor(*row) if more else None)
    return ResultPage([*items.values()], write_cursor(*found[-1]) if len(found) == share else None)


def search_by_ending(connection: Connection, ending: str, limit: int) -> list[dict[str, Any]]:
    """Return trackers with a search term that ends with a text. Nothing is found for fewer characters than the index has.

    The terms with the same last characters are read up to a limit, so that the work stays bounded.
    """
    if len(ending) < ENDING_CHARACTERS:
        return []
    terms = table_of(SearchTermTable)
    indexed = ENDING.in_([ending[-ENDING_CHARACTERS:]]), and_(HAS_ENDING)
    same = select(*terms.columns).where(*indexed).limit(_SEEN_TERMS).subquery()
    whole = func.substr(same.c.term, func.length(same.c.term) - (len(ending) - 1)) == ending
    is_long_enough = func.length(same.c.term) >= len(ending)
    key = (same.c.source, same.c.tracker_id)
    found = connection.execute(select(*key).where(is_long_enough, whole).distinct().order_by(*key).limit(limit)).all()
    states = read_states(connection, [(row.source, row.tracker_id) for row in found])
    return [public(states[row.source, row.tracker_id]) for row in found if (row.source, row.tracker_id) in states]


def _select_terms(wanted: TrackerFilter, term: str, after: tuple[Any, ...] | None) -> Select[Any]:
    """Select matching terms after a key. There is one lower bound: an index starts at one, others are checked on each row."""
    terms = table_of(SearchTermTable)
    key = (terms.c.term, terms.c.source, terms.c.tracker_id)
    statement = select(*key).order_by(*key)
    if wanted.exact:
        statement = statement.where(terms.c.term == term)
        return statement.where(tuple_(*key[1:]) > after[1:]) if after and after[0] == term else statement
    end = _end_of(term)
    if end is not None:
        statement = statement.where(terms.c.term < end)
    return statement.where(tuple_(*key) > after if after and after[0] >= term else terms.c.term >= term)


def _end_of(term: str) -> str | None:
    """Return the first text after all texts that start with `term`, by code points; None if there is none."""
    stem = term.rstrip("\U0010ffff")
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)  # halves of surrogate pairs are no characters


def _narrow(wanted: TrackerFilter) -> list[ColumnElement[bool] | TextClause]:
    until = wanted.until()
    return [*conditions(wanted), *([] if until is None else [table_of(TrackerTable).c.moved_at < until])]


def _choose(terms: Select[Any], narrow: Sequence[ColumnElement[bool] | TextClause]) -> Select[Any]:
    """Select the terms whose trackers meet the conditions."""
    trackers, seen = table_of(TrackerTable), terms.subquery()
    is_named = and_(trackers.c.source == seen.c.source, trackers.c.tracker_id == seen.c.tracker_id)
    return select(seen).join(trackers, is_named).where(*narrow).order_by(*seen.c)


def _join(connection: Connection, terms: Sequence[Row[Any]], size: int) -> Iterator[tuple[Row[Any], RowMapping]]:
    """Yield terms with their trackers. They are read in pieces of the size of a page."""
    for start in range(0, len(terms), size):
        part = terms[start : start + size]
        states = read_states(connection, [(row.source, row.tracker_id) for row in part])
        yield from ((row, states[row.source, row.tracker_id]) for row in part if (row.source, row.tracker_id) in states)


def _is_shown_at(found: str, wanted: TrackerFilter, state: RowMapping, term: str) -> bool:
    """Tell whether a tracker appears at this one of its terms."""
    names = [state[name].casefold() for name in _NAMES if state[name]]
    matching = [name for name in names if (name == term if wanted.exact else name.startswith(term))]
    return not matching or found == min(matching)
