"""Trackers by what they are called: numbers, ids, references."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, Select, select, tuple_

from receiver.storage.queries.pages import Page, public, read_cursor, write_cursor
from receiver.storage.queries.states import TrackerFilter, conditions, read_states
from receiver.storage.tables import TermTable, TrackerTable, table_of

_SEEN_TERMS = 2000  # what one page looks at
_AT_ONCE = 500
_NAMES = ("tracker_id", "tracking_number", "client_tracker_id", "shipment_reference")


def search_trackers(connection: Connection, wanted: TrackerFilter, term: str, limit: int, cursor: str | None) -> Page:
    """Return the trackers that `term` names, in the order of their terms.

    One that several terms lead to comes with the first of its present names, or, if none of these matches, with a former one.
    """
    found = connection.execute(_select_terms(wanted, term, read_cursor(cursor, str, str, str))).all()
    of_source = [row for row in found if wanted.source in {None, row.source}]
    items: dict[tuple[str, str], dict[str, Any]] = {}
    for row, state in _join(connection, wanted, of_source, limit + 1):
        if not _is_place(wanted, state, term, row.term):
            continue
        items.setdefault((row.source, row.tracker_id), public(state))
        if len(items) == limit:
            more = row != found[-1] or len(found) == _SEEN_TERMS
            return Page([*items.values()], write_cursor(*row) if more else None)
    return Page([*items.values()], write_cursor(*found[-1]) if len(found) == _SEEN_TERMS else None)


def _select_terms(wanted: TrackerFilter, term: str, behind: tuple[Any, ...] | None) -> Select[Any]:
    """Select from one bound on: an index begins at one only, and others would be asked of each row."""
    terms = table_of(TermTable)
    key = (terms.c.term, terms.c.source, terms.c.tracker_id)
    statement = select(*key).order_by(*key).limit(_SEEN_TERMS)
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


def _join(
    connection: Connection, wanted: TrackerFilter, found: Sequence[Row[Any]], first: int
) -> Iterator[tuple[Row[Any], RowMapping]]:
    """Give terms with their trackers, those that are wanted: at first as many as a page needs, then more at once."""
    trackers = table_of(TrackerTable)
    narrow = conditions(wanted)
    until = wanted.until()
    if until is not None:
        narrow.append(trackers.c.moved_at < until)
    start, size = 0, first
    while start < len(found):
        part = found[start : start + size]
        states = read_states(connection, [(row.source, row.tracker_id) for row in part], narrow)
        yield from ((row, states[row.source, row.tracker_id]) for row in part if (row.source, row.tracker_id) in states)
        start, size = start + size, _AT_ONCE


def _is_place(wanted: TrackerFilter, state: RowMapping, term: str, place: str) -> bool:
    names = [state[name].casefold() for name in _NAMES if state[name]]
    matching = [name for name in names if (name == term if wanted.exact else name.startswith(term))]
    return not matching or place == min(matching)
