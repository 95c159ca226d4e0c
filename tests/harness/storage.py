"""A database without a service: make its tables, lock it, change it from outside."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psycopg

from receiver.storage import schema
from receiver.storage.database import Database
from receiver.storage.tables.metadata import METADATA
from receiver.storage.version import VERSION
from tests.harness.database_pool import give_tables
from tests.harness.rows import find_filled, read_rows, table_rows, write_condition, writing


def make_tables(url: str) -> None:
    """Bring a database to this version; an empty one gets copies of tables that were migrated before."""
    path = Database(url).path
    if path is not None and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_empty_file())
    elif (path is not None or not give_tables(url, migrate)) and not _is_current(url):
        migrate(url)


def _is_current(url: str) -> bool:
    """Tell whether a database has the tables of this version. To migrate it then costs as much as to make them."""
    with suppress(sqlite3.OperationalError, psycopg.errors.UndefinedTable):
        return table_rows(url, "alembic_version") == [{"version_num": VERSION}]
    return False


def migrate(url: str) -> None:
    """Bring a database to this version by its migrations."""
    database = Database(url)
    database.take(create=True)
    try:
        schema.migrate(database)
    finally:
        database.close()


@cache
def _empty_file() -> bytes:
    """Return a SQLite file of this version, as `schema.migrate` makes it."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "empty.db"
        migrate(f"sqlite:///{file}")
        return file.read_bytes()


def change(url: str, *statements: str) -> None:
    """Run statements in a transaction, beside all rules of the service. For what `add_row` and its siblings cannot do."""
    with writing(url) as run:
        for statement in statements:
            run(statement)


def forbid_packing(url: str) -> None:
    """Make the tables as they are after an upgrade beside receivers of the version before, which cannot read packed bodies."""
    change(url, "UPDATE table_versions SET compatible_from = '0006'")


def damage_body(url: str, delivery_id: str) -> None:
    """Change the last byte of a packed body."""
    (row,) = read_rows(url, "SELECT body FROM bodies WHERE delivery_id = :delivery_id", delivery_id=delivery_id)
    stored = bytes(row["body"])
    update_rows(url, "bodies", {"delivery_id": delivery_id}, body=stored[:-1] + bytes([stored[-1] ^ 1]))


def add_row(url: str, table: str, /, **values: object) -> None:
    """Add a row to a table, beside all rules of the service."""
    with writing(url) as run:
        run(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})", values)


class Plus(NamedTuple):
    """A value of `update_rows`: the one of the row and this number."""

    number: int


def update_rows(url: str, table: str, where: Mapping[str, object] | None = None, /, **values: object) -> None:
    """Change columns of the rows of a table that have the values of `where`, beside all rules of the service."""
    condition, parameters = write_condition(where or {})
    changes = []
    for name, value in values.items():
        changes.append(f"{name} = {f'{name} + ' if isinstance(value, Plus) else ''}:new_{name}")
        parameters[f"new_{name}"] = value.number if isinstance(value, Plus) else value
    with writing(url) as run:
        run(f"UPDATE {table} SET {', '.join(changes)}{condition}", parameters)


def delete_rows(url: str, table: str, /, **equal: object) -> None:
    """Delete the rows of a table that have these values, beside all rules of the service."""
    where, values = write_condition(equal)
    with writing(url) as run:
        run(f"DELETE FROM {table}{where}", values)


LASTING = frozenset({"alembic_version", "table_versions", "processes"})
"""Tables that say which version the database has, and who runs: to empty a database leaves them."""


def clear_rows(url: str) -> None:
    """Delete all rows of a database, beside a running service too; what says that it runs, and on which tables, stays."""
    with writing(url) as run:
        for name in find_filled(run, METADATA.tables.keys() - LASTING):
            run(f"DELETE FROM {name}")


WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
"""Who waits on PostgreSQL for what somebody holds."""


@contextmanager
def hold_up(url: str, tables: str = "deliveries, messages") -> Iterator[None]:
    """Let no delivery be written as long as the block lasts; whoever tries waits. A SQLite file is waited for 5 seconds only."""
    database = Database(url)
    if database.path is None:
        with psycopg.connect(url) as server:
            server.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")
            yield
        return
    file = sqlite3.connect(database.path, isolation_level=None)
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        file.execute("ROLLBACK")
        file.close()


def poison(url: str, tracker_id: str) -> None:
    """Make our code fail on each new event of a tracker: the time in its stored row cannot be read. To heal, delete the row."""
    unknown = dict.fromkeys(("snapshot_generated_at", "created_at", "moved_at", "moves"), 0)
    texts = {"subject": "parcel", "snapshot_message_id": "", "latest_occurrence": "never"}
    add_row(url, "trackers", source="ship24", tracker_id=tracker_id, version=1, **unknown, **texts)
