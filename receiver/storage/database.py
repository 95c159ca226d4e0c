"""Which database it is: with `engines.py`, which connects, and `faults.py`, which reads its errors, all that know.

Locks on a SQLite file keep a second writing process out.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from sqlite3 import Error as SQLiteError
from typing import Any

import orjson
import structlog
from psycopg import Error as PsycopgError
from sqlalchemy import ColumnElement, Connection, CursorResult, Engine, Select, Table, collate, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

from receiver import clock
from receiver.errors import ConfigurationError, StorageUnavailable, UnexpectedShape
from receiver.storage.damage import find_damage
from receiver.storage.engines import (
    connect_listener,
    is_sqlite,
    keep_journal_in_memory,
    make_reading_engine,
    make_writing_engine,
    read_url,
    show_url,
    vacuum,
)
from receiver.storage.faults import DATABASE_ERRORS, Fault, dropped_after_fault, find_fault
from receiver.storage.files import DatabaseFile, OpenFiles
from receiver.storage.notifications import CHANGES_CHANNEL
from receiver.storage.reads import ActiveReads

_log = structlog.get_logger()
_DURABILITY = ("server_version", "synchronous_commit", "fsync", "full_page_writes")


class Database:
    """A place to keep everything, by SQLAlchemy URL. Opens nothing until asked."""

    def __init__(self, url: str) -> None:
        self.url = read_url(url)
        self.is_sqlite = is_sqlite(self.url)
        self.path = Path(self.url.database or "") if self.is_sqlite else None
        self.dialect: Dialect = sqlite.dialect(paramstyle="qmark") if self.is_sqlite else psycopg_dialect(paramstyle="format")  # type: ignore[no-untyped-call]
        self.takes_arrays = not self.is_sqlite
        self.has_one_writer = self.is_sqlite
        self._file = None if self.path is None else DatabaseFile(self.path)
        self._writing: Engine | None = None
        self._reading: Engine | None = None
        self._reads = ActiveReads()

    def __repr__(self) -> str:
        return f"Database({str(self)!r})"

    def __str__(self) -> str:
        return show_url(self.url)

    def take(self, *, create: bool = False) -> None:
        """Become the process that writes; with `create`, make a SQLite file that is not there yet.

        Raises WriterTaken if another one does (SQLite), NoDatabase or DatabaseLost if there is no file, StorageUnavailable if
        this user may not write.
        """
        self.close_readers()  # their locks would end with a descriptor that is closed because the file is taken
        if self._file is not None:
            self._file.take(create=create)

    def take_again(self) -> None:
        """Take the file to which the path leads now. Raises StorageUnavailable where it is no database, or another's."""
        if self._file is not None:
            self._file.take_again()

    def open_files(self) -> OpenFiles | None:
        """Return the files of a SQLite database that was taken; a server has its own."""
        return None if self._file is None else self._file.opened()

    def connect_writer(self, *, journal_in_memory: bool = False) -> Connection:
        """Open the writing connection; each transaction on it locks at its start. Call `take` first.

        With `scratch_in_memory` SQLite puts into memory what it notes down to undo one statement of several rows; that is for
        many small transactions, not for those that sort or copy a whole table.
        Raises StorageUnavailable if the database cannot be reached.
        """
        if self._writing is None:
            self._writing = make_writing_engine(self.url)
        try:
            connection = self._writing.connect()
            if journal_in_memory:
                keep_journal_in_memory(connection)
        except DATABASE_ERRORS as error:
            raise StorageUnavailable(self.explain(error)) from None
        return connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a read-only connection.

        Raises NoDatabase or DatabaseLost if there is no file, StorageUnavailable if it cannot be read, UnexpectedShape for a
        value that no row can have.
        """
        if self._file is not None and self._file.has_changed_for_readers():
            self.close_readers()
        engine = self._reading
        if engine is None:
            engine = self._reading = make_reading_engine(self.url)
        try:
            with self._reads.counted(), engine.connect() as connection, dropped_after_fault(connection):
                yield connection
        except DATABASE_ERRORS as error:
            if find_fault(error) is Fault.CONTENT:
                raise UnexpectedShape("The database cannot look for a value of this kind or size.") from None
            raise StorageUnavailable(self.explain(error)) from None

    @contextmanager
    def read_snapshot(self) -> Iterator[Connection]:
        """Give a read-only connection that sees everything as it is at its first question, as long as the block lasts."""
        with self.read() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    def end_reads(self, seconds: float) -> None:
        """Let no read begin any more, wait for those under way, at most so long, and close the reading connections.

        The writer then is the last to leave a SQLite file, and empties and removes its write-ahead log: a reader cannot.
        """
        self._reads.end(seconds)
        self.close_readers()

    def close_readers(self) -> None:
        """Close the reading connections that nobody uses just now; those in use are closed when they are given back."""
        if self._reading is not None:
            self._reading.dispose()
            self._reading = None

    def close(self) -> None:
        """Close all connections and give the lock back."""
        self.close_readers()
        if self._writing is not None:
            self._writing.dispose()
            self._writing = None
        if self._file is not None:
            self._file.close()

    def insert(self, table: Table) -> Any:
        """Begin an INSERT that knows conflict clauses.

        SQLite: one that fails ends the transaction, as it would end it here anyway; so it need not first put aside every page
        that it changes, to undo itself alone.
        """
        return sqlite.insert(table).prefix_with("OR ROLLBACK") if self.is_sqlite else postgresql.insert(table)

    def select_packed(self, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        """Return a SELECT of the columns for `unpack`.

        SQLite hands rows over one by one and the driver gives up the interpreter's lock for each; so there they come as one row.
        """
        return select(func.json_group_array(func.json_array(*columns))) if self.is_sqlite else select(*columns)

    def unpack(self, result: CursorResult[Any]) -> Sequence[Sequence[Any]]:
        """Return the rows of a `select_packed`."""
        if not self.is_sqlite:
            return result.fetchall()
        try:
            rows: list[list[Any]] = orjson.loads(result.scalar_one())
        except orjson.JSONDecodeError:
            raise StorageUnavailable(f"{self}: what it holds cannot be read; the file is damaged") from None
        return rows

    def lock_rows(self, statement: Select[Any], table: Table) -> Select[Any]:
        """Lock the rows in the order in which Python sorts their keys, so that two transactions cannot wait for each other.

        SQLite locks the file.
        """
        if self.is_sqlite:
            return statement
        in_order = [collate(column, "C") for column in table.primary_key.columns]  # the database's own order may be a language's
        return statement.order_by(*in_order).with_for_update(of=table)

    def lock_table(self, connection: Connection, table: Table) -> None:
        """Let nobody else write to a table until the transaction ends; readers go on. SQLite locks the file."""
        if not self.is_sqlite:
            connection.exec_driver_sql(f"LOCK TABLE {table.name} IN EXCLUSIVE MODE")

    def skip_locked(self, statement: Select[Any], table: Table) -> Select[Any]:
        """Lock the rows that nobody else has locked, and leave the others out. SQLite has one writer."""
        return statement if self.is_sqlite else statement.with_for_update(of=table, skip_locked=True)

    async def changes_made(self) -> AsyncIterator[None]:
        """Give a sign whenever some process has committed changes, and once at the start; only where there may be several.

        Behind a pooler there is only the one at the start. Raises StorageUnavailable when the server is gone.
        """
        try:
            listener = await connect_listener(self.url)
            if listener is None:
                _log.warning("changes_polled", cause="a connection pooler hands on no notices: relays look every few seconds")
                yield
                await asyncio.Event().wait()
                return
            async with listener as connection:
                await connection.execute(f"LISTEN {CHANGES_CHANNEL}")
                yield
                async for _ in connection.notifies():
                    yield
        except PsycopgError as error:
            raise StorageUnavailable(self.explain(error)) from None

    def explain(self, error: BaseException) -> str:
        """Return one line about a fault: the driver's words, never a statement, a value or a password."""
        if isinstance(error, StorageUnavailable):
            return error.message
        words = str(getattr(error, "orig", None) or error).strip().splitlines()
        return f"{self}: {words[0] if words else type(error).__name__}"

    def durability(self) -> dict[str, str]:
        """Return version and the settings on which "kept" rests, as the database itself reports them on the writing
        connection.
        """
        with self.connect_writer() as connection:
            if self.is_sqlite:
                found = {
                    name: str(connection.exec_driver_sql(f"PRAGMA {name}").scalar()) for name in ("journal_mode", "synchronous")
                }
                return {"version": f"SQLite {connection.exec_driver_sql('SELECT sqlite_version()').scalar()}", **found}
            shown = {name: str(connection.exec_driver_sql(f"SHOW {name}").scalar()) for name in _DURABILITY}
            return {"version": f"PostgreSQL {shown.pop('server_version')}", **shown}

    def find_damage(self, seconds: float) -> str | None:
        """Return what is wrong inside a SQLite file, or None; a server looks after its own. Raises TimeoutError."""
        if not self.is_sqlite:
            return None
        with self.read() as connection:
            return find_damage(connection, seconds)

    def clock_skew_seconds(self) -> float:
        """Return how far the database's clock is from ours; a file has none."""
        if self.is_sqlite:
            return 0.0
        with self.read() as connection:
            theirs: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return abs((clock.now() - theirs).total_seconds())

    def size_bytes(self) -> int:
        """Return what the database takes on disk."""
        if self._file is not None:
            return self._file.size_bytes()
        with self.read() as connection:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())

    def free_bytes(self) -> int | None:
        """Return how much of a file is free for what comes next; a server does not tell."""
        if not self.is_sqlite:
            return None
        with self.read() as connection:
            pages, page_bytes = (
                int(connection.exec_driver_sql(f"PRAGMA {n}").scalar_one()) for n in ("freelist_count", "page_size")
            )
        return pages * page_bytes

    def wal_bytes(self) -> int:
        """Return what stands in a file's log and not yet in the file."""
        return 0 if self._file is None else self._file.wal_bytes()

    def vacuum(self) -> None:
        """Write a file anew without its free pages. Call `take` first. Raises StorageUnavailable for want of room."""
        if self.path is None:
            raise ConfigurationError("PostgreSQL vacuums by itself; to give room back to the disk its own VACUUM FULL is there.")
        needed = 2 * self.size_bytes()  # a copy, and the log through which it comes back
        free = shutil.disk_usage(self.path.parent).free
        if free < needed:
            raise StorageUnavailable(f"{self.path} cannot be written anew: that may take {needed} bytes, and {free} are free.")
        try:
            with self.connect_writer() as connection:
                vacuum(connection)
        except (DBAPIError, SQLiteError) as error:
            raise StorageUnavailable(self.explain(error)) from None

    def estimate_rows(self, table: Table) -> int:
        """Return about how many rows a table with row ids has, without counting them."""
        statement = select(func.max(text("rowid"))).select_from(table)
        if not self.is_sqlite:
            statement = (
                select(text("reltuples::bigint")).select_from(text("pg_class")).where(text(f"oid = '{table.name}'::regclass"))
            )
        with self.read() as connection:
            return max(0, int(connection.execute(statement).scalar() or 0))
