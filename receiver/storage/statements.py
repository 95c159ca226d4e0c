"""SQLAlchemy statements on our tables for many rows at once, compiled once.

Many rows in one statement mean one step of the database for all of them, and few waits for the interpreter's lock. A statement is
compiled for one row; its text for N rows repeats the group after VALUES. Each N up to 32 has its own text, which the driver
prepares once and keeps.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, bindparam, column, func, literal_column, values
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from receiver.storage.database import Database

_T = TypeVar("_T")
_MAX_ROWS = 32


class _Repeated:
    """The texts of one statement for 1 to 32 rows."""

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        text = str(statement.compile(dialect=dialect))
        self._head, values_, rest = text.partition("VALUES ")
        end = _find_close(rest) + 1
        self._head += values_
        self._group, self._tail = rest[:end], rest[end:]
        self._texts: dict[int, str] = {}

    def text(self, rows: int) -> str:
        if rows not in self._texts:
            self._texts[rows] = self._head + ", ".join([self._group] * rows) + self._tail
        return self._texts[rows]


class Insert:
    """`INSERT … VALUES (…), (…) ON CONFLICT DO NOTHING` for rows given as tuples in the order of the table's columns.

    With `versioned`, a row that exists is replaced if its `version` is the one before ours, and left alone otherwise; the
    columns in
    `kept` then keep what they hold where ours is NULL.
    """

    def __init__(self, database: Database, table: Table, *, versioned: bool = False, kept: Sequence[str] = ()) -> None:
        new = database.insert(table).values(dict.fromkeys(table.columns.keys()))
        if versioned:
            keys = table.primary_key.columns
            statement = new.on_conflict_do_update(
                index_elements=list(keys),
                set_={
                    c.name: func.coalesce(new.excluded[c.name], c) if c.name in kept else new.excluded[c.name]
                    for c in table.columns
                    if c.name not in keys
                },
                where=table.c.version == new.excluded.version - literal_column("1"),
            )
        else:
            statement = new.on_conflict_do_nothing()
        self._statement = _Repeated(statement, database.dialect)

    def execute(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> bool:
        """Insert, and tell whether every row was written: False means that somebody else was first."""
        written = 0
        for chunk in _chunks(rows):
            sql = self._statement.text(len(chunk))
            written += connection.exec_driver_sql(sql, tuple(chain.from_iterable(chunk))).rowcount
        return written == len(rows)


class Lookup:
    """`SELECT` the rows of a table whose primary key is among those given, locked where the database can lock rows."""

    def __init__(self, database: Database, table: Table, columns: Sequence[ColumnElement[Any]], *, lock: bool = False) -> None:
        self._database = database
        keys = list(table.primary_key.columns)
        wanted = (
            values(*(column(key.name, key.type) for key in keys), name="wanted")
            .data([tuple(bindparam(None, "", key.type) for key in keys)])
            .cte("wanted")
        )
        statement = database.select_packed(columns).select_from(wanted)
        for key in keys:
            statement = statement.where(key == wanted.c[key.name])
        if lock:
            statement = database.lock_rows(statement, table)
        self._statement = _Repeated(statement, database.dialect)

    def execute(self, connection: Connection, keys: Sequence[tuple[str, ...]]) -> Iterator[Sequence[Any]]:
        """Give the rows that exist. `keys` are sorted, so that two batches lock in the same order."""
        for chunk in _chunks(keys):
            sql = self._statement.text(len(chunk))
            result = connection.exec_driver_sql(sql, tuple(chain.from_iterable(chunk)))
            yield from self._database.unpack(result)


def _find_close(text: str) -> int:
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return place
    raise ValueError("no group of values in the statement")


def _chunks(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(rows), _MAX_ROWS):
        yield rows[start : start + _MAX_ROWS]
