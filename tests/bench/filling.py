"""Makes a SQLite database that has been in use for long; what is in it says `filling.sql`."""

import sqlite3
from contextlib import closing
from pathlib import Path

_SCRIPT = Path(__file__).with_name("filling.sql")
_MESSAGES_A_TRACKER = 10
_KNOWN = 50_000  # more than one run meets
_FAST = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "temp_store=MEMORY", "cache_size=-1000000")


def fill(path: Path, messages: int, known: Path) -> None:
    """Add messages to the migrated, empty database at `path`, and write some of its trackers to `known` for `updates.lua`."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in _FAST:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        size = (messages, messages // _MESSAGES_A_TRACKER)
        connection.execute("CREATE TEMP TABLE size AS SELECT ? AS calls, ? AS trackers", size)
        for statement in _SCRIPT.read_text(encoding="utf-8").split(";\n"):
            connection.execute(statement)
        connection.execute("COMMIT")
        query = "SELECT tracker_id, tracking_number, latest_order FROM trackers ORDER BY random() LIMIT ?"
        rows = connection.execute(query, (_KNOWN,))
        known.write_text("".join(f"{tracker} {number} {order}\n" for tracker, number, order in rows), encoding="ascii")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
