"""A check that a write-ahead log (WAL) belongs to the SQLite file beside it.

SQLite replays any WAL with valid checksums, even over a file restored from yesterday's copy, and the mixture is malformed. So the
first page has a mark of two fields. `user_version` is the salt of the WAL in which it was written. `application_id` is the
`user_version` of the file when that WAL was started. A file belongs to a WAL if it is unchanged since then, or the WAL was copied
into it. Each time SQLite restarts its WAL, one small transaction writes both fields.
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
    """The mark in the first page: `base` of the file when its WAL was started, `current` of that WAL. 0: never marked."""

    base: int
    current: int


def wal_of(path: Path) -> Path:
    """Return the path of the WAL of a database file. SQLite puts it beside the file itself, not beside a link to it."""
    return Path(f"{os.path.realpath(path)}-wal")


def read_file_mark(descriptor: int) -> Mark:
    """Return the mark in an open file, without its WAL."""
    header = os.pread(descriptor, _HEADER_BYTES, 0)
    return Mark(int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big"))


def read_salt(path: Path) -> int | None:
    """Return the salt of a file's WAL, a random number that SQLite sets at each restart of the WAL; None if there is no WAL."""
    return read_salt_of(wal_of(path))


def read_salt_of(wal: Path) -> int | None:
    """Return the salt of a WAL by its own path; None if there is none."""
    try:
        with wal.open("rb", buffering=0) as opened:
            header = opened.read(_WAL_HEADER_BYTES)
    except OSError:
        return None
    return (int.from_bytes(header[20:24], "big") & _POSITIVE) or 1 if len(header) == _WAL_HEADER_BYTES else None


def mark_wal(connection: Connection, path: Path) -> Mark:
    """Mark the current WAL unless it is marked, outside of transactions; return the mark. Raises errors of SQLite."""
    driver: Any = connection.connection.driver_connection
    mark = _read_mark(driver)
    base = mark.current
    while (salt := read_salt(path)) is not None and mark.current != salt:  # writing the mark may restart the WAL
        driver.execute("BEGIN IMMEDIATE")
        driver.execute(f"PRAGMA application_id={base}")
        driver.execute(f"PRAGMA user_version={salt}")
        driver.execute("COMMIT")
        mark = Mark(base, salt)
    return mark


def check_wal(path: Path, descriptor: int) -> None:
    """Raise StorageUnavailable if there is a WAL beside an open file that does not belong to it."""
    wal = wal_of(path)
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
            f"malformed. Move {wal} and {path}-shm away to use the file as it was restored, or put back the file they belong to."
        )


def _read_mark(connection: Any) -> Mark:
    return Mark(*(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")))
