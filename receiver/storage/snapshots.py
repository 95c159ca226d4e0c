"""Snapshots of a SQLite file, read on a connection of their own."""

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool


def open_snapshot(path: Path, *, immutable: bool = False) -> Connection:
    """Open a SQLite file read-only, as it is now, until the connection is closed. Any thread may use it. Raises errors of SQLite.

    `immutable`: no process writes to the file, so nothing is locked, and no file is made beside it.
    """
    engine = create_engine("sqlite://", creator=partial(_connect, path, immutable), poolclass=NullPool)
    event.listen(engine, "begin", _begin)
    connection = engine.connect()
    connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")  # the snapshot is that of the first query
    return connection


def count_rows(connection: Connection) -> dict[str, int]:
    """Return the number of rows of each table, by its name."""
    listed = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
    )
    names = sorted(listed.scalars())
    return {name: int(connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one()) for name in names}  # noqa: S608


def _connect(path: Path, immutable: bool) -> sqlite3.Connection:  # noqa: FBT001  the argument of a partial
    option = "immutable=1" if immutable else "mode=ro"
    return sqlite3.connect(f"file:{quote(str(path))}?{option}", uri=True, check_same_thread=False, isolation_level=None)


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN")
