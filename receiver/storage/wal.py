"""Whether a write-ahead log (WAL) belongs to the SQLite file beside it.

SQLite replays any log with valid checksums, also over a file restored from yesterday's copy, and the mixture is malformed. So the
first page says which log was begun on which: `user_version` is the salt of the log in which it was written, and
`application_id` what `user_version` was in the file when that log was begun. A file belongs to a log if it is as it was then, or
has had the log copied into it. Each time SQLite begins its log again, one small transaction writes both.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from sqlalchemy import Connection

from receiver.errors import StorageUnavailable

_HEADER_BYTES = 100
_WAL_HEADER_BYTES = 32
_POSITIVE = 0x7FFFFFFF  # both fields are signed


class Mark(NamedTuple):
    """What the first page says: `base` of the file when its log was begun, `current` of that log. 0: never marked."""

    base: int
    current: int


def wal_of(path: Path) -> Path:
    """Return where SQLite keeps the write-ahead log of a database file: beside the file itself, not beside a link to it."""
    return Path(f"{os.path.realpath(path)}-wal")


def read_file_mark(descriptor: int) -> Mark:
    """Return the mark in an open file, without what its log holds."""
    header = os.pread(descriptor, _HEADER_BYTES, 0)
    return Mark(int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big"))


def read_salt(path: Path) -> int | None:
    """Return the random number that SQLite gave the log of a file when it last began it, or None if there is no log."""
    try:
        with wal_of(path).open("rb", buffering=0) as log:
            header = log.read(_WAL_HEADER_BYTES)
    except OSError:
        return None
    return (int.from_bytes(header[20:24], "big") & _POSITIVE) or 1 if len(header) == _WAL_HEADER_BYTES else None


def mark_wal(connection: Connection, path: Path) -> Mark:
    """Mark the log that was begun last, outside of transactions, unless it is; return the mark. Raises what SQLite raises."""
    driver: Any = connection.connection.driver_connection
    mark = _read_mark(driver)
    base = mark.current
    while (salt := read_salt(path)) is not None and mark.current != salt:  # the log may begin again with the mark itself
        driver.execute("BEGIN IMMEDIATE")
        driver.execute(f"PRAGMA application_id={base}")
        driver.execute(f"PRAGMA user_version={salt}")
        driver.execute("COMMIT")
        mark = Mark(base, salt)
    return mark


def check_wal(path: Path, descriptor: int) -> None:
    """Raise StorageUnavailable unless the log beside an open file, if there is one, belongs to the file."""
    log = wal_of(path)
    if read_salt(path) is None:
        return
    try:
        reader = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        try:
            seen = _read_mark(reader)
        finally:
            reader.close()
    except sqlite3.OperationalError as error:
        raise StorageUnavailable(f"{path} cannot be read: {error}.") from None
    except sqlite3.DatabaseError:
        seen = None
    if seen is None or read_file_mark(descriptor).current not in seen:
        raise StorageUnavailable(
            f"{path} does not belong to the write-ahead log beside it: one was restored without the other, and together they are "
            f"malformed. Move {log} and {path}-shm away to use the file as it was restored, or put back the file they belong to."
        )


def _read_mark(connection: Any) -> Mark:
    return Mark(*(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")))
