"""A database without a service: make its tables, lock it, change it from outside."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psycopg
from sqlalchemy import Connection, text

from receiver.storage import schema
from receiver.storage.database import Database
from tests.harness.database_pool import give_tables
from tests.harness.rows import read_rows, write_condition


def make_tables(url: str) -> None:
    """Bring a database to this version; an empty one gets copies of tables that were migrated before."""
    path = Database(url).path
    if path is not None and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_empty_file())
    elif path is not None or not give_tables(url, migrate):
        migrate(url)


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
    with _writing(url) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def forbid_packing(url: str) -> None:
    """Make the tables as they are after an upgrade beside receivers of the version before, which cannot read packed bodies."""
    change(url, "UPDATE table_versions SET compatible_from = '0006'")


def damage_body(url: str, delivery_id: str) -> None:
    """Change the last byte of a packed body."""
    (row,) = read_rows(url, "SELECT body FROM bodies WHERE delivery_id = :id", id=delivery_id)
    stored = bytes(row["body"])
    with _writing(url) as connection:
        changed = {"body": stored[:-1] + bytes([stored[-1] ^ 1]), "id": delivery_id}
        connection.execute(text("UPDATE bodies SET body = :body WHERE delivery_id = :id"), changed)


def add_row(url: str, table: str, /, **values: object) -> None:
    """Add a row to a table, beside all rules of the service."""
    with _writing(url) as connection:
        columns = ", ".join(values)
        connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({', '.join(f':{name}' for name in values)})"), values)


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
    with _writing(url) as connection:
        connection.execute(text(f"UPDATE {table} SET {', '.join(changes)}{condition}"), parameters)


def delete_rows(url: str, table: str, /, **equal: object) -> None:
    """Delete the rows of a table that have these values, beside all rules of the service."""
    where, values = write_condition(equal)
    with _writing(url) as connection:
        connection.execute(text(f"DELETE FROM {table}{where}"), values)


@contextmanager
def _writing(url: str) -> Iterator[Connection]:
    database = Database(url)
    try:
        with database.connect_writer() as connection, connection.begin():
            yield connection
    finally:
        database.close()


LASTING = frozenset({"alembic_version", "table_versions", "processes"})
"""Tables that say which version the database has, and who runs: to empty a database leaves them."""


def empty(path: Path) -> None:
    """Delete all rows of a SQLite file beside a running service; what says that it runs, and on which tables, stays."""
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as file:
        names = [
            name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        ]
        file.execute("BEGIN IMMEDIATE")
        for name in set(names) - LASTING:
            file.execute(f"DELETE FROM {name}")
        file.execute("COMMIT")


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


_POISON = {
    "sqlite": (
        "CREATE TRIGGER poison BEFORE INSERT ON messages WHEN NEW.message_id = 'poison' BEGIN SELECT RAISE(ABORT, 'poison'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE check_violation; END $$",
        "CREATE TRIGGER poison BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.message_id = 'poison') EXECUTE FUNCTION refuse()",
    ),
}


def poison(url: str) -> None:
    """Make the database refuse the message called `poison`, as it refuses a value that it cannot take."""
    change(url, *_POISON["sqlite" if Database(url).is_sqlite else "postgresql"])
