"""The planner's idea of the outbox, which PostgreSQL forms when it analyzes the table.

An outbox is usually empty, and analyzed while it is. If thousands of changes then wait, because a target is down, the server
still plans for none: it takes the index on the due times for each row that is claimed by its key, and reads all that waits. It
analyzes again by itself after a minute or so, and only if a worker is free.
"""

from sqlalchemy import Connection, text

from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import DispatchTable

_MIN_ROWS = 1_000
_MAX_GROWTH = 10
_TABLE = table_of(DispatchTable).name
_GROWN = text(
    "SELECT relpages > 0 AND reltuples >= 0 AND pg_stat_get_live_tuples(oid) > greatest(:least, :growth * reltuples) "
    "FROM pg_class WHERE oid = to_regclass(:name)"
)


def has_outgrown_statistics(connection: Connection) -> bool:
    """Tell whether many times as many changes wait as when the server last analyzed the outbox. For PostgreSQL."""
    return bool(connection.execute(_GROWN, {"least": _MIN_ROWS, "growth": _MAX_GROWTH, "name": _TABLE}).scalar())


def analyze_outbox(connection: Connection) -> None:
    """Have PostgreSQL analyze the outbox now, unless somebody else is at it."""
    connection.exec_driver_sql(f"ANALYZE (SKIP_LOCKED) {_TABLE}")
