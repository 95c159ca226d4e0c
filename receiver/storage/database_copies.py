"""Copies of a SQLite database: files that no process has open."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from receiver.errors import StorageUnavailable
from receiver.storage.damage import find_damage
from receiver.storage.snapshots import count_rows, open_snapshot
from receiver.storage.stored_bodies import find_damaged_body
from receiver.storage.tables.ledger import DeliveryTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.version import FoundVersion, read_version
from receiver.storage.wal import read_salt, wal_of

_MAGIC = b"SQLite format 3\0"


class CopyFacts(NamedTuple):
    """The content of a copy: its size, the version of its tables, the number of rows of each, and the time of the last delivery.

    `last_delivery_at` is in microseconds, None without deliveries.
    """

    size_bytes: int
    version: FoundVersion
    rows: dict[str, int]
    last_delivery_at: int | None


def read_copy(file: Path, interrupted: Callable[[], bool], *, with_bodies: bool = False) -> CopyFacts:
    """Check a copy for damage, and return its facts. `with_bodies` unpacks every body: a damaged one prevents no backup.

    Raises StorageUnavailable for a file that is damaged, incomplete or no database of this program, and KeyboardInterrupt once
    `interrupted` returns True.
    """
    _check_file(file)
    try:
        with closing(open_snapshot(file, immutable=True)) as connection:
            if damage := find_damage(connection, interrupted):
                raise StorageUnavailable(f"{file} is damaged: {damage}")
            found = read_version(connection)
            if found.version is None:
                raise StorageUnavailable(f"{file} is no database of receiver: it has no tables.")
            if with_bodies and found.has_packed_bodies and (damage := find_damaged_body(connection, interrupted)):
                raise StorageUnavailable(f"{file} is damaged: {damage}")
            return CopyFacts(file.stat().st_size, found, count_rows(connection), _read_last_delivery(connection))
    except (DBAPIError, sqlite3.Error) as error:
        words = str(getattr(error, "orig", None) or error)
        raise StorageUnavailable(f"{file} is damaged: {words}") from None


def _check_file(file: Path) -> None:
    try:
        if not S_ISREG(file.stat().st_mode):  # a pipe would be waited for, and could be read only once
            raise StorageUnavailable(f"{file} is not a regular file.")
        with file.open("rb") as opened:
            begins = opened.read(len(_MAGIC))
    except OSError as error:
        raise StorageUnavailable(f"{file} cannot be read: {error.strerror}.") from None
    if begins != _MAGIC:
        raise StorageUnavailable(f"{file} is not a SQLite database.")
    if read_salt(file) is not None:
        words = "so it is not a copy that `receiver backup` made, and a part of its content may be only there"
        raise StorageUnavailable(f"{file} has a write-ahead log beside it, {wal_of(file)}, {words}.")


def _read_last_delivery(connection: Connection) -> int | None:
    deliveries = table_of(DeliveryTable)
    statement = select(deliveries.c.received_at).order_by(deliveries.c.id.desc()).limit(1)
    found = connection.execute(statement).scalar()
    return None if found is None else int(found)
