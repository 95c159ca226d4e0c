"""A database without a service: make its tables, lock it, change it from outside."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psycopg

from receiver.storage import schema
from receiver.storage.database import Database


def make_tables(url: str) -> None:
    """Bring a database to this version; an empty one gets copies of tables that were migrated before."""
    path = Database(url).path
    if path is not None and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_empty_file())
    elif path is not None or not _copy_tables(url):
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


_asked_of: Counter[tuple[str, str]] = Counter()


def _copy_tables(url: str) -> bool:
    """Replace an empty PostgreSQL database by a copy of one with tables; return whether it is done.

    A server that wants tables a second time gets such a one to copy, for each way of sorting.
    """
    with psycopg.connect(url, target_session_attrs="read-write") as asked:  # of several servers the primary
        shown = asked.execute("SHOW port").fetchone()
        if asked.info.parameter_status("is_superuser") != "on" or shown != (str(asked.info.port),):  # a pooler holds sessions
            return False
        row = asked.execute(
            "SELECT datname, current_setting('data_directory'), datlocprovider || encoding, "
            "(SELECT count(*) FROM pg_tables WHERE schemaname = 'public') FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    name, server_folder, kind, tables = row
    _asked_of[server_folder, kind] += 1
    if tables or _asked_of[server_folder, kind] == 1:
        return False
    made = f"tables_{kind}"
    with psycopg.connect(url, dbname="postgres", autocommit=True, target_session_attrs="read-write") as server:
        if not server.execute("SELECT FROM pg_database WHERE datname = %s", [made]).fetchall():
            server.execute(f'CREATE DATABASE {made} TEMPLATE "{name}"')
            migrate(urlsplit(url)._replace(path=f"/{made}").geturl())
        server.execute(f'DROP DATABASE "{name}"')
        server.execute(f'CREATE DATABASE "{name}" TEMPLATE {made}')
    return True


def change(url: str, *statements: str) -> None:
    """Run statements in a transaction, beside all rules of the service."""
    database = Database(url)
    try:
        with database.connect_writer() as connection, connection.begin():
            for statement in statements:
                connection.exec_driver_sql(statement)
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
