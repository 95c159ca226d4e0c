"""All rows of a database, for comparison, and a check that no row lacks its companions."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import select

from receiver.storage.database import Database
from receiver.storage.tables.metadata import METADATA
from tests.harness.rows import find_filled, read_rows

_BACKGROUND_TABLES = frozenset({"alarms", "known_tokens", "prunings", "tallies", "token_uses", "unknown_paths"})

Contents = dict[str, list[tuple[Any, ...]]]


def contents(url: str, without: Collection[str] = ()) -> Contents:
    """Return the rows of every table but `processes`, where the time of those that run goes on; sorted.

    `without` names tables, or columns as `table.column`, that are left out, too.
    """
    database = Database(url)
    try:
        with database.read() as connection:
            found: Contents = {name: [] for name in METADATA.tables.keys() - {"processes", *without}}
            for name in find_filled(connection.exec_driver_sql, found):
                columns = [column for column in METADATA.tables[name].columns if f"{name}.{column.name}" not in without]
                found[name] = sorted((tuple(row) for row in connection.execute(select(*columns))), key=repr)
            return found
    finally:
        database.close()


def contents_beside_service(url: str) -> Contents:
    """Return the rows of every table but those that a running service writes at times of its own: what requests did."""
    return contents(url, without=_BACKGROUND_TABLES)


def differing(one: Contents, other: Contents) -> set[str]:
    """Return the names of the tables whose rows differ."""
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def check_whole(url: str, without: Collection[str] = ()) -> None:
    """Check that nothing is half there: each row has the rows that were written with it; `without` names checks to leave out."""
    halves = {
        "message without its delivery": "SELECT message_id FROM messages m LEFT JOIN deliveries d ON d.id = m.delivery_id "
        "WHERE d.id IS NULL",
        "delivery without its body": "SELECT id FROM deliveries d LEFT JOIN bodies b ON b.delivery_id = d.id "
        "WHERE b.delivery_id IS NULL",
        "message without its event": "SELECT source, tracker_id, message_id FROM messages "
        "EXCEPT SELECT source, tracker_id, message_id FROM events",  # a join would read all events of the tracker each time
        "event without its message": "SELECT e.event_id FROM events e LEFT JOIN messages m "
        "ON e.source = m.source AND e.message_id = m.message_id WHERE m.message_id IS NULL",
        "event without its tracker": "SELECT e.event_id FROM events e LEFT JOIN trackers t "
        "ON e.source = t.source AND e.tracker_id = t.tracker_id WHERE t.tracker_id IS NULL",
        "tracker without its latest event": "SELECT t.tracker_id FROM trackers t LEFT JOIN events e "
        "ON e.source = t.source AND e.tracker_id = t.tracker_id AND e.event_id = t.latest_event_id WHERE e.event_id IS NULL",
        "delivery without all of its messages": "SELECT d.id FROM deliveries d WHERE d.outcome = 'accepted' AND d.received <> "
        "(SELECT count(*) FROM messages m WHERE m.delivery_id = d.id) + "
        "(SELECT count(*) FROM sightings s WHERE s.delivery_id = d.id)",
    }
    for name, query in halves.items():
        assert name in without or read_rows(url, query) == [], name
