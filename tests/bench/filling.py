"""Makes a large database that looks as if it had been in use for long, with `filling.sql`."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg

from receiver.domain.rows import BodyRow
from receiver.storage.packed_bodies import BodyPacker
from receiver.storage.tables.ids import DigestText, IdText
from receiver.storage.tables.metadata import METADATA

SCRIPT = Path(__file__).with_name("filling.sql")
_MESSAGES_A_TRACKER = 10
_KNOWN = 50_000  # more than one run meets
_LIFE_DAYS = 21
_FAST = (
    *("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-1000000"),
    *("temp_store=FILE", "temp.cache_size=-400000"),  # what is drawn first is several gigabytes for ten million
)
_ROWS_AT_ONCE = 10_000
_NAMES: dict[type, str] = {IdText: "id", DigestText: "digest"}
_INSERT = re.compile(r"INSERT INTO (?P<table>\w+) \((?P<names>[^)]*)\)")


def fill(path: Path, messages: int, known: Path) -> None:
    """Add messages to the migrated, empty database at `path`.

    For `updates.lua`, write some of its trackers to `known`, and some that were new in the last three weeks to `living(known)`.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in _FAST:
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function("packed", 4, partial(_pack, BodyPacker()))
        add_functions(connection)
        connection.execute("BEGIN")
        size = (messages, messages // _MESSAGES_A_TRACKER)
        connection.execute("CREATE TEMP TABLE size AS SELECT ? AS calls, ? AS trackers", size)
        for statement in SCRIPT.read_text(encoding="utf-8").split(";\n"):
            connection.execute(_pack_ids(statement))
        connection.execute("COMMIT")
        _write_trackers(connection, living(known), f"(strftime('%s', 'now') - {_LIFE_DAYS} * 86400) * 1000000")
        _write_trackers(connection, known, "0")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def add_functions(connection: sqlite3.Connection) -> None:
    """Let statements pack and unpack ids and digests, as the types of their columns do."""
    for kind in (IdText, DigestText):
        connection.create_function(f"{_NAMES[kind]}_packed", 1, kind.form.pack, deterministic=True)
        connection.create_function(f"{_NAMES[kind]}_text", 1, kind.form.unpack, deterministic=True)


def write_text(name: str, packed: object) -> str:
    """Return the expression for a column's value where ids and digests are texts; `packed` is the column's type."""
    kind = _NAMES.get(type(packed))
    return f'"{name}"' if kind is None else f'{kind}_text("{name}")'


def _pack_ids(statement: str) -> str:
    """Return a statement that inserts packed ids and digests in place of texts."""
    found = _INSERT.search(statement)
    if found is None:
        return statement
    columns = METADATA.tables[found["table"]].columns
    names = [name.strip().strip('"') for name in found["names"].split(",")]
    kinds = [_NAMES.get(type(columns[name].type)) for name in names]
    pairs = zip(names, kinds, strict=True)
    values = ", ".join(f'"{name}"' if kind is None else f'{kind}_packed("{name}")' for name, kind in pairs)
    given = ", ".join(f'"{name}"' for name in names)
    head, rest = statement[: found.end()], statement[found.end() :]
    return f"{head} WITH given ({given}) AS ({rest}) SELECT {values} FROM given"


def _pack(packer: BodyPacker, source: str, headers: str, body: bytes, answer: bytes) -> bytes:
    """Return a content packed as the service does; all of them shrink."""
    row = packer.pack(source, BodyRow("", headers, body, answer))
    assert row.content_bytes is not None
    return row.body


def living(known: Path) -> Path:
    """Return the file beside `known` with trackers that are still going."""
    return known.with_name(f"{known.name}-living")


def _write_trackers(connection: sqlite3.Connection, file: Path, since: str) -> None:
    columns, where = "id_text(tracker_id), tracking_number, latest_order", f"source = 'ship24' AND created_at >= {since}"
    rows = connection.execute(f"SELECT {columns} FROM trackers WHERE {where} ORDER BY random() LIMIT ?", (_KNOWN,))
    file.write_text("".join(f"{tracker} {number} {order}\n" for tracker, number, order in rows), encoding="ascii")


def copy(path: Path, url: str) -> None:
    """Copy all rows of a SQLite database into the migrated, empty PostgreSQL database at `url`, and tidy up there."""
    with closing(sqlite3.connect(path)) as file, psycopg.connect(url) as server:
        add_functions(file)
        tables = file.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall()
        for (table,) in sorted({*tables} - {("alembic_version",), ("table_versions",)}):  # a migrated database has them
            columns = file.execute(f"SELECT name, type FROM pragma_table_info('{table}')").fetchall()
            names = ", ".join(f'"{name}"' for name, _ in columns)
            with server.cursor().copy(f"COPY {table} ({names}) FROM STDIN") as stream:
                for lines in _read_lines(file, table, columns):
                    stream.write(lines)
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("VACUUM ANALYZE")


def _read_lines(file: sqlite3.Connection, table: str, columns: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Give rows as lines for COPY, made by the database: there are no values with tabs or line breaks."""
    types = METADATA.tables[table].columns
    values = " || char(9) || ".join(_write_value(name, kind, types[name].type) for name, kind in columns)
    cursor = file.execute(f"SELECT {values} || char(10) FROM {table}")
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        yield "".join(row for (row,) in rows)


def _write_value(name: str, kind: str, packed: object) -> str:
    if type(packed) in _NAMES:
        return f"coalesce({write_text(name, packed)}, '\\N')"
    if kind == "BLOB":
        return f"""'\\\\x' || hex("{name}")"""
    return f"""coalesce(CAST("{name}" AS TEXT), '\\N')"""
