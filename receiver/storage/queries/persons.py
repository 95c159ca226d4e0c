"""The trackers of a person: a search through shipment data, which has no index."""

from sqlalchemy import select, tuple_

from receiver.domain.persons import find_person
from receiver.storage.database import Database
from receiver.storage.queries.pages import ResultPage, read_cursor, write_cursor
from receiver.storage.tables.ledger import TrackerTable
from receiver.storage.tables.metadata import table_of

_READ_ROWS = 2000  # trackers that one page reads; each may have kilobytes of shipment data
_COLUMNS = ("source", "tracker_id", "tracking_number", "client_tracker_id", "shipment_reference", "shipment")


def find_persons(database: Database, term: str, limit: int, cursor: str | None = None) -> ResultPage:
    """Return the trackers whose names or shipment data contain every word of a term, in the order of their keys.

    Each item has the fields in which the words were found. A page reads a bounded number of trackers, so it may be short or
    empty, and yet not be the last one.
    """
    trackers = table_of(TrackerTable)
    key = trackers.c.source, trackers.c.tracker_id
    statement = select(*(trackers.c[name] for name in _COLUMNS)).order_by(*key).limit(_READ_ROWS)
    after = read_cursor(cursor, str, str)
    if after is not None:
        statement = statement.where(tuple_(*key) > after)
    with database.read() as connection:
        rows = connection.execute(statement).mappings().all()
    items = []
    for place, row in enumerate(rows):
        found = find_person(dict(row), term)
        if found is None:
            continue
        items.append({"source": row["source"], "tracker_id": row["tracker_id"], "found": found})
        if len(items) == limit:
            has_more = place + 1 < len(rows) or len(rows) == _READ_ROWS
            return ResultPage(items, write_cursor(row["source"], row["tracker_id"]) if has_more else None)
    last = write_cursor(rows[-1]["source"], rows[-1]["tracker_id"]) if len(rows) == _READ_ROWS else None
    return ResultPage(items, last)
