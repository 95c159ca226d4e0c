"""The items before and after one item in a list."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import select

from receiver.storage.database import Database
from receiver.storage.queries.deliveries import DeliveryFilter, list_deliveries
from receiver.storage.queries.message_list import MessageFilter, list_messages
from receiver.storage.queries.movements import write_place
from receiver.storage.queries.pages import MAX_LIMIT, SORTS, ResultPage, write_cursor
from receiver.storage.queries.states import TrackerFilter
from receiver.storage.queries.trackers import list_trackers
from receiver.storage.tables.ledger import TrackerTable
from receiver.storage.tables.metadata import table_of

_MAX_PAGES = 20  # that are read for one neighbour: pages of a rare filter are empty
_MAX_FULL_PAGES = 2  # of a list that has one direction only

_ReadPage: TypeAlias = Callable[[str, int, str], ResultPage]
"""Reads a page: what comes first, the number of items, and the cursor."""


class Neighbours(NamedTuple):
    """The items before and after one in a list, None at its ends or where they are far away."""

    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


def find_tracker_neighbours(database: Database, wanted: TrackerFilter, source: str, tracker_id: str) -> Neighbours:
    """Return the neighbours of a tracker where it is in the list now.

    If the list is not by time, only its first 400 trackers have some.
    """
    table = table_of(TrackerTable)
    if wanted.has_own_order():
        return _search(lambda *at: list_trackers(database, wanted, *at), source, tracker_id)
    named = select(table).where(table.c.source == source, table.c.tracker_id == tracker_id)
    with database.read() as connection:
        row = connection.execute(named).mappings().one()
    return _find(lambda sort, *at: list_trackers(database, wanted._replace(sort=sort), *at), wanted.sort, write_place(row))


def find_delivery_neighbours(database: Database, wanted: DeliveryFilter, sources: Sequence[str], delivery_id: str) -> Neighbours:
    """Return the neighbours of a delivery. `sources` are the names of all sources."""

    def read(sort: str, limit: int, cursor: str) -> ResultPage:
        return list_deliveries(database, wanted._replace(sort=sort), sources, limit, cursor)

    return _find(read, wanted.sort, write_cursor(delivery_id))


def find_message_neighbours(database: Database, wanted: MessageFilter, cursor: str) -> Neighbours:
    """Return the neighbours, with a message id, of the message that a cursor names."""
    return _find(lambda sort, *at: list_messages(database, wanted._replace(sort=sort), *at), wanted.sort, cursor)


def _search(read: Callable[[int, str | None], ResultPage], source: str, tracker_id: str) -> Neighbours:
    """Look for a tracker from the beginning of a list."""
    before, is_found, cursor = None, False, None
    for _ in range(_MAX_FULL_PAGES):
        page = read(MAX_LIMIT, cursor)
        for item in page.items:
            if is_found:
                return Neighbours(before, item)
            is_found = (item["source"], item["tracker_id"]) == (source, tracker_id)
            before = before if is_found else item
        cursor = page.next
        if cursor is None:
            break
    return Neighbours(before) if is_found else Neighbours()


def _find(read: _ReadPage, sort: str, cursor: str) -> Neighbours:
    (other,) = set(SORTS) - {sort}
    return Neighbours(_read_next(read, other, cursor), _read_next(read, sort, cursor))


def _read_next(read: _ReadPage, sort: str, cursor: str) -> dict[str, Any] | None:
    """Return the next item that has a page of its own."""
    for _ in range(_MAX_PAGES):
        page = read(sort, 1, cursor)
        if page.items and page.items[0].get("message_id", "") is not None:
            return page.items[0]
        if page.next is None:
            return None
        cursor = page.next
    return None
