"""SQLAlchemy statements for many rows at once, compiled once, when first used.

Where the database supports arrays, each column is one array parameter, and one statement text serves any number of rows.
Elsewhere a statement is compiled for one row, and its text for N rows repeats the group after VALUES. Each N up to 32 has its
own text, which the driver prepares once and caches.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    Connection,
    Select,
    Table,
    Update,
    bindparam,
    column,
    false,
    func,
    select,
    tuple_,
    values,
)
from sqlalchemy.sql import ClauseElement

from receiver.storage import driver
from receiver.storage.arrays import write_array
from receiver.storage.database import Database
from receiver.storage.tables.ids import PackedText

_T = TypeVar("_T")
_Record = TypeVar("_Record", bound=NamedTuple)
Condition: TypeAlias = Callable[[Any, Any], Any]
_MAX_REPEATED = 32
_MAX_ROWS = 1000


class Insert(Generic[_Record]):
    """`INSERT … ON CONFLICT DO NOTHING` for records: each field is the column of its name.

    With `replace_if`, an existing row is replaced if this condition on the old and the new row holds. Columns in `keep_if_null`
    keep their value if the new one is NULL. Each key may occur once in `execute`.
    """

    def __init__(
        self,
        database: Database,
        table: Table,
        record: type[_Record],
        *,
        replace_if: Condition | None = None,
        keep_if_null: Sequence[str] = (),
    ) -> None:
        columns = columns_of(table, record)
        if database.takes_arrays:
            new = database.insert(table).from_select(record._fields, select(*_unnest(columns)))
        else:
            new = database.insert(table).values(dict.fromkeys(record._fields))
        if replace_if is not None:
            keys = table.primary_key.columns
            statement = new.on_conflict_do_update(
                index_elements=list(keys),
                set_={
                    c.name: func.coalesce(new.excluded[c.name], c) if c.name in keep_if_null else new.excluded[c.name]
                    for c in columns
                    if c.name not in keys
                },
                where=replace_if(table.c, new.excluded),
            )
        else:
            statement = new.on_conflict_do_nothing()
        self._statement = _Statement(database, statement, columns)

    def execute(self, connection: Connection, rows: Sequence[_Record]) -> "Inserted":
        """Insert the rows. In a pipeline the result can be looked at after its end."""
        return Inserted(list(self._statement.execute(connection, rows)), len(rows))


class Inserted(NamedTuple):
    """The result of an insert: the driver's cursors, and the number of rows that were given."""

    cursors: Sequence[Any]
    given: int

    @property
    def is_complete(self) -> bool:
        """Tell whether every row was written. If not, another process was first."""
        return sum(int(cursor.rowcount) for cursor in self.cursors) == self.given


def columns_of(table: Table, record: type[NamedTuple]) -> list[ColumnElement[Any]]:
    """Return the columns of a table that hold the fields of a record, in the order of the fields."""
    return [table.c[name] for name in record._fields]


class Lookup:
    """`SELECT` of the rows with given primary keys.

    `lock` locks them if the database can lock rows: `wait` waits for rows that others have locked, `skip` leaves them out.
    """

    def __init__(
        self,
        database: Database,
        table: Table,
        columns: Sequence[ColumnElement[Any]],
        *,
        lock: Literal["wait", "skip"] | None = None,
    ) -> None:
        self._database = database
        self._columns = columns
        wanted = _wanted(database, table)
        statement = database.select_packed(columns).select_from(wanted)
        for key in table.primary_key.columns:
            statement = statement.where(key == wanted.c[key.name])
        if lock == "wait":
            statement = database.lock_rows(statement, table)
        elif lock == "skip":
            statement = database.skip_locked(statement, table)
        self._statement = _Statement(database, statement, list(table.primary_key.columns))

    def execute(self, connection: Connection, keys: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[Any]]:
        """Yield the existing rows. Sort the `keys`, so that two batches lock in the same order."""
        return self.read(self.start(connection, keys))

    def start(self, connection: Connection, keys: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        """Look up these sorted keys; `read` gives the rows from the cursors, in a pipeline after its end."""
        return list(self._statement.execute(connection, keys))

    def read(self, cursors: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Yield the existing rows."""
        for cursor in cursors:
            yield from self._database.unpack(cursor, self._columns)


class KeyedUpdate:
    """`UPDATE` of the rows with given primary keys; with `find`, of those whose keys this query returns for the given ones.

    `statement` has no parameters.
    """

    def __init__(self, database: Database, table: Table, statement: Update, find: Callable[[CTE], Select[Any]] = select) -> None:
        columns = list(table.primary_key.columns)
        keys = tuple_(*columns).in_(find(_wanted(database, table)))
        self._statement = _Statement(database, statement.where(keys), columns)

    def execute(self, connection: Connection, keys: Sequence[tuple[Any, ...]]) -> None:
        """Update the rows."""
        for _ in self._statement.execute(connection, keys):
            pass


class _Statement:
    """A statement for any number of rows, whose values are those of the columns. On PostgreSQL ids are texts, as they come."""

    def __init__(self, database: Database, statement: ClauseElement, columns: Sequence[ColumnElement[Any]]) -> None:
        self._width = len(columns)
        self._packs = [(place, c.type.form.pack_cached) for place, c in enumerate(columns) if isinstance(c.type, PackedText)]
        self._arrays = database.takes_arrays
        self._dialect = database.dialect
        self._statement = statement
        self._repeated: dict[int, str] = {}

    @cached_property
    def _text(self) -> str:
        return str(self._statement.compile(dialect=self._dialect))

    def execute(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        if self._arrays:
            for chunk in chunks(rows, _MAX_ROWS):
                yield driver.run(connection, self._text, tuple(map(write_array, zip(*chunk, strict=True))))
        else:
            for chunk in chunks(rows, _MAX_REPEATED):
                yield driver.run(connection, self._repeat(len(chunk)), self._pack(chunk))

    def _pack(self, rows: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        """Return the values of rows one after the other, as a SQLite file holds them."""
        values = list(chain.from_iterable(rows))
        for place, pack in self._packs:
            values[place :: self._width] = map(pack, values[place :: self._width])
        return values

    def _repeat(self, rows: int) -> str:
        if rows not in self._repeated:
            head, values_, rest = self._text.partition("VALUES ")
            end = _find_close(rest) + 1
            self._repeated[rows] = head + values_ + ", ".join([rest[:end]] * rows) + rest[end:]
        return self._repeated[rows]


def _wanted(database: Database, table: Table) -> CTE:
    keys = list(table.primary_key.columns)
    if database.takes_arrays:
        return select(*_unnest(keys)).cte("wanted")
    rows = values(*(column(key.name, key.type) for key in keys), name="wanted")
    return rows.data([tuple(bindparam(None, "", key.type) for key in keys)]).cte("wanted")


def _unnest(columns: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    return [func.unnest(bindparam(None, [], ARRAY(c.type))).label(c.name) for c in columns]


def _find_close(text: str) -> int:
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return position
    raise ValueError("no group of values in the statement")


def is_one_of(columns: Sequence[ColumnElement[Any]], rows: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
    """Return the condition that several columns together are one of these rows. A statement may have it once.

    SQLite searches its index for the rows of a query, but reads the whole table for a list of two rows or more.
    """
    if not rows:
        return false()
    wanted = values(*(column(f"wanted_{place}", each.type) for place, each in enumerate(columns)), name="wanted").data(rows)
    return tuple_(*columns).in_(select(wanted.cte("wanted")))


def chunks(rows: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """Yield the rows in pieces: the values of a statement are limited (SQLite 32,766, PostgreSQL 65,535)."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
