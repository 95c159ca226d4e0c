"""Questions to a database: the rows of a table that have certain values, and how many there are. And statements that change it.

They go past the service and its engines, on a connection of their own: an engine costs many times as much as a question.
"""

import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

import psycopg
from psycopg.rows import dict_row

from receiver.domain.rows import BodyRow
from receiver.storage.engines import connection_arguments, is_sqlite, read_url
from receiver.storage.packed_bodies import unpack
from receiver.storage.tables.ids import PackedText
from receiver.storage.tables.metadata import METADATA

Row = dict[str, Any]
_WORD = re.compile(r"\w+")
_NAME = re.compile(r"^(?:new_)?(\w+?)(?:_\d+)?$")
_PACKED_BYTES = 16
_PARAMETER = re.compile(r"(?<!:):([a-z]\w*)")


class Like(NamedTuple):
    """A value of `table_rows` and `count_rows`: any text of this pattern, as in SQL."""

    pattern: str


class Not(NamedTuple):
    """A value of `table_rows` and `count_rows`: any but this one. `Not(None)` is any at all."""

    value: object


def read_rows(url: str, query: str, **parameters: object) -> list[Row]:
    """Return the rows of a query, with a reader's rights. For questions that `table_rows` and `count_rows` cannot ask.

    Rows with all columns of `bodies` come as they arrived, whether they are packed or not.
    """
    rows = _read_rows(url, query, parameters)
    return [row | _unpack(row) for row in rows] if rows and _is_of_bodies(rows[0]) else rows


def _is_of_bodies(row: Row) -> bool:
    return set(BodyRow._fields) <= row.keys()


def _unpack(row: Row) -> Row:
    if row["content_bytes"] is None:
        return {}
    stored = BodyRow(**{name: row[name] for name in BodyRow._fields})
    content = unpack(stored._replace(body=bytes(stored.body)))
    return {"headers": content.headers, "body": content.body, "answer": content.answer}


def _read_rows(url: str, query: str, parameters: Mapping[str, object]) -> list[Row]:
    read = read_url(url)
    if not is_sqlite(read):
        with psycopg.connect(**connection_arguments(read, "receiver tests"), row_factory=dict_row) as server:
            server.read_only = True
            return server.execute(_place_parameters(query), parameters).fetchall()
    with closing(sqlite3.connect(f"file:{quote(read.database or '')}?mode=ro", uri=True, timeout=60)) as file:
        file.row_factory = sqlite3.Row
        return [_with_texts(query, dict(row)) for row in file.execute(query, pack_ids(url, query, parameters))]


def pack_ids(url: str, query: str, parameters: Mapping[str, object]) -> Row:
    """Return parameters, each named like a column, as the database holds the ids and digests of the tables in a query."""
    if not is_sqlite(read_url(url)):
        return dict(parameters)
    types = _types(query)
    names = {name: _NAME.sub(r"\1", name) for name in parameters}
    return {
        name: kind.form.pack(value) if isinstance(value, str) and (kind := types.get(names[name])) is not None else value
        for name, value in parameters.items()
    }


def _types(query: str) -> dict[str, type[PackedText]]:
    """Return the types of the packed columns of the tables in a query, by name."""
    tables = [METADATA.tables[word] for word in sorted({*_WORD.findall(query)} & METADATA.tables.keys())]
    return {c.name: type(c.type) for table in tables for c in table.columns if isinstance(c.type, PackedText)}


def _with_texts(query: str, row: Row) -> Row:
    """Return a row with texts in place of packed ids and digests."""
    packed = [name for name, value in row.items() if isinstance(value, bytes) and len(value) == _PACKED_BYTES]
    types = _types(query) if packed else {}
    return row | {name: types[name].form.unpack(row[name]) for name in packed if name in types}


def _place_parameters(statement: str) -> str:
    """Write `:name` as psycopg does."""
    return _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%"))


@contextmanager
def writing(url: str) -> Iterator[Callable[..., Any]]:
    """Give a function that runs a statement, with values for each `:name` if there are any, and returns the driver's cursor.

    All statements of the block are one transaction, beside all rules of the service.
    """
    read = read_url(url)
    if not is_sqlite(read):
        with psycopg.connect(**connection_arguments(read, "receiver tests")) as server:
            yield lambda statement, *values: server.execute(_place_parameters(statement) if values else statement, *values)
        return
    file = sqlite3.connect(f"file:{quote(read.database or '')}?mode=rw", uri=True, timeout=60, isolation_level=None)
    with closing(file):
        file.execute("BEGIN IMMEDIATE")
        yield lambda statement, *values: file.execute(statement, *(pack_ids(url, statement, each) for each in values))
        file.execute("COMMIT")


def find_filled(run: Callable[[str], Any], names: Collection[str]) -> list[str]:
    """Return those of some tables that have rows, by one question: most of them never have any."""
    asked = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in sorted(names))
    return [name for (name,) in run(asked).fetchall()]


def table_rows(url: str, table: str, /, *columns: str, order: str = "", **equal: object) -> list[Row]:
    """Return the rows of a table, or some of its columns.

    `order` names columns. `equal` has the values of other columns: one value, None, a tuple of possible values, `Like` or `Not`.
    """
    ordered = f" ORDER BY {order}" if order else ""
    where, values = write_condition(equal)
    if table == "bodies" and columns:  # they are unpacked from whole rows
        rows = read_rows(url, f"SELECT * FROM bodies{where}{ordered}", **values)
        return [{name: row[name] for name in columns} for row in rows]
    return read_rows(url, f"SELECT {', '.join(columns) or '*'} FROM {table}{where}{ordered}", **values)


def count_rows(url: str, table: str, /, **equal: object) -> int:
    """Return how many rows of a table have these values."""
    where, values = write_condition(equal)
    (row,) = read_rows(url, f"SELECT count(*) AS number FROM {table}{where}", **values)
    return int(row["number"])


def delivery_row(url: str, delivery_id: str) -> Row:
    """Return the row of a delivery, with those of its body and its answer."""
    (row,) = table_rows(url, "deliveries JOIN bodies ON delivery_id = id", id=delivery_id)
    return row


def write_condition(equal: Mapping[str, object]) -> tuple[str, Row]:
    """Return a condition on columns, as `table_rows` takes it, and the values of its parameters."""
    parts: list[str] = []
    values: Row = {}
    for name, value in equal.items():
        if value is None:
            parts.append(f"{name} IS NULL")
        elif isinstance(value, Like):
            parts.append(f"{name} LIKE :{name}")
            values[name] = value.pattern
        elif isinstance(value, Not) and value.value is None:
            parts.append(f"{name} IS NOT NULL")
        elif isinstance(value, Not):
            parts.append(f"{name} <> :{name}")
            values[name] = value.value
        elif isinstance(value, tuple):
            parts.append(f"{name} IN ({', '.join(f':{name}_{place}' for place in range(len(value)))})")
            values |= {f"{name}_{place}": one for place, one in enumerate(value)}
        else:
            parts.append(f"{name} = :{name}")
            values[name] = value
    return (" WHERE " + " AND ".join(parts) if parts else "", values)
