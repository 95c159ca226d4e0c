"""The database: SQLite or PostgreSQL behind one class.

Only this module, `additions`, `engines`, `faults` (errors), `postgresql`, and the modules for SQLite's files know which it is.
"""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from sqlite3 import Error as SQLiteError
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, Select, Table, collate, func, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

from receiver import clock
from receiver.errors import ConfigurationError, StorageUnavailable, UnexpectedShape
from receiver.storage.damage import find_damage_within
from receiver.storage.engines import (
    connection_arguments,
    is_sqlite,
    keep_journal_in_memory,
    make_reading_engine,
    make_writing_engine,
    read_url,
    show_url,
    vacuum,
)
from receiver.storage.faults import Fault, database_errors, dropped_after_fault, find_fault
from receiver.storage.files import DatabaseFile, OpenFiles
from receiver.storage.reads import ActiveReads
from receiver.storage.tables.ids import as_json, read_json

_DURABILITY = ("server_version", "synchronous_commit", "fsync", "full_page_writes")


class Database:
    """A database, by its SQLAlchemy URL. It connects only when needed."""

    def __init__(self, url: str) -> None:
        self.url = read_url(url)
        self.is_sqlite = is_sqlite(self.url)
        self.path = Path(self.url.database or "") if self.is_sqlite else None
        self.dialect, self._insert = _choose_dialect(is_sqlite=self.is_sqlite)
        self.takes_arrays = not self.is_sqlite
        self.plans_by_statistics = not self.is_sqlite
        self.has_one_writer = self.is_sqlite
        self.packs_ids = self.is_sqlite  # as the types of `tables.ids` do
        self._file = None if self.path is None else DatabaseFile(self.path)
        self._writing: Engine | None = None
        self._reading: Engine | None = None
        self._reads = ActiveReads()

    def __repr__(self) -> str:
        return f"Database({str(self)!r})"

    def __str__(self) -> str:
        return show_url(self.url)

    def take(self, *, create: bool = False) -> None:
        """Become the writing process: lock a SQLite file, and with `create` make it if there is none.

        Raises WriterTaken if another process has locked it, NoDatabase or DatabaseLost if there is no file, StorageUnavailable if
        this user may not write.
        """
        self.close_readers()  # locking closes a descriptor of the file, which would release the locks of its readers
        if self._file is not None:
            self._file.take(create=create)

    def take_again(self) -> None:
        """Lock the file that is at the path now. Raises StorageUnavailable if it is no database or another process writes to
        it."""
        if self._file is not None:
            self._file.take_again()

    def open_files(self) -> OpenFiles | None:
        """Return the files of a locked SQLite database; None for a server."""
        return None if self._file is None else self._file.opened()

    def connect_writer(self, *, journal_in_memory: bool = False) -> Connection:
        """Open the writing connection; each transaction on it locks at its start. Call `take` first.

        With `journal_in_memory` SQLite keeps its statement journal in memory: for many small transactions, not for those that
        sort or copy a whole table. Raises StorageUnavailable if the database cannot be reached.
        """
        if self._writing is None:
            self._writing = make_writing_engine(self.url)
        try:
            connection = self._writing.connect()
            if journal_in_memory:
                keep_journal_in_memory(connection)
        except database_errors() as error:
            raise StorageUnavailable(self.explain(error)) from None
        return connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a read-only connection.

        Raises NoDatabase or DatabaseLost if there is no file, StorageUnavailable if it cannot be read, UnexpectedShape for a
        query with a value that no column can hold.
        """
        if self._file is not None and self._file.has_changed_for_readers():
            self.close_readers()
        engine = self._reading
        if engine is None:
            engine = self._reading = make_reading_engine(self.url)
        try:
            with self._reads.counted(), engine.connect() as connection, dropped_after_fault(connection):
                yield connection
        except database_errors() as error:
            if find_fault(error) is Fault.CONTENT:
                raise UnexpectedShape("The database cannot search for a value of this kind or size.") from None
            raise StorageUnavailable(self.explain(error)) from None

    @contextmanager
    def read_snapshot(self) -> Iterator[Connection]:
        """Give a read-only connection that sees a snapshot of the database, taken at its first query."""
        with self.read() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    def end_reads(self, seconds: float) -> None:
        """Refuse new reads, wait at most `seconds` for the running ones, and close the reading connections.

        Then the writer is the last to close a SQLite file, and removes its WAL. A reader could not.
        """
        self._reads.end(seconds)
        self.close_readers()

    def close_readers(self) -> None:
        """Close the idle reading connections; those in use are closed when they are returned."""
        if self._reading is not None:
            self._reading.dispose()
            self._reading = None

    def close(self) -> None:
        """Close all connections and release the lock."""
        self.close_readers()
        if self._writing is not None:
            self._writing.dispose()
            self._writing = None
        if self._file is not None:
            self._file.close()

    def insert(self, table: Table) -> Any:
        """Start an INSERT that supports ON CONFLICT.

        On SQLite a failing INSERT rolls back the transaction, which happens here anyway. So SQLite need not save every page
        that the statement changes to undo only that statement.
        """
        insert = self._insert(table)
        return insert.prefix_with("OR ROLLBACK") if self.is_sqlite else insert

    def select_packed(self, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        """Return a SELECT of the columns whose result `unpack` reads.

        SQLite returns rows one by one, and the driver releases the interpreter lock for each. So SQLite packs all rows into one.
        """
        return select(func.json_group_array(func.json_array(*map(as_json, columns)))) if self.is_sqlite else select(*columns)

    def unpack(self, cursor: Any, columns: Sequence[ColumnElement[Any]]) -> Sequence[Sequence[Any]]:
        """Return the rows that a `select_packed` statement of these columns has left in the driver's cursor."""
        if not self.is_sqlite:
            return list(cursor.fetchall())
        try:
            rows: list[list[Any]] = orjson.loads(cursor.fetchall()[0][0])
        except orjson.JSONDecodeError:
            raise StorageUnavailable(f"{self}: its content cannot be read; the file is damaged") from None
        return read_json(rows, columns)

    def lock_rows(self, statement: Select[Any], table: Table) -> Select[Any]:
        """Lock the rows in the order in which Python sorts their keys, so that two transactions cannot deadlock.

        On SQLite the whole file is locked already.
        """
        if self.is_sqlite:
            return statement
        in_order = [
            collate(column, "C") for column in table.primary_key.columns
        ]  # the database may sort by the rules of a language
        return statement.order_by(*in_order).with_for_update(of=table)

    def lock_table(self, connection: Connection, table: Table) -> None:
        """Lock a table against other writers until the transaction ends. On SQLite the whole file is locked already."""
        if not self.is_sqlite:
            connection.exec_driver_sql(f"LOCK TABLE {table.name} IN EXCLUSIVE MODE")

    def skip_locked(self, statement: Select[Any], table: Table) -> Select[Any]:
        """Lock the rows and leave out those that others have locked. SQLite has only one writer."""
        return statement if self.is_sqlite else statement.with_for_update(of=table, skip_locked=True)

    async def changes_made(self) -> AsyncIterator[None]:
        """Yield once at the start, and whenever a process has committed changes. PostgreSQL only.

        Behind a connection pooler it yields only at the start. Raises StorageUnavailable when the server is gone.
        """
        from receiver.storage.psycopg_driver import listen  # noqa: PLC0415  slow, and SQLite does without

        try:
            async with aclosing(listen(connection_arguments(self.url, "receiver listener"))) as signs:
                async for _ in signs:
                    yield
        except database_errors() as error:
            raise StorageUnavailable(self.explain(error)) from None

    def explain(self, error: BaseException) -> str:
        """Return one line about a fault: the driver's message, never a statement, a value or a password."""
        if isinstance(error, StorageUnavailable):
            return error.message
        words = str(getattr(error, "orig", None) or error).strip().splitlines()
        return f"{self}: {words[0] if words else type(error).__name__}"

    def durability(self) -> dict[str, str]:
        """Return the version and the settings that make commits durable, as the writing connection reports them."""
        with self.connect_writer() as connection:
            if self.is_sqlite:
                found = {
                    name: str(connection.exec_driver_sql(f"PRAGMA {name}").scalar()) for name in ("journal_mode", "synchronous")
                }
                return {"version": f"SQLite {connection.exec_driver_sql('SELECT sqlite_version()').scalar()}", **found}
            shown = {name: str(connection.exec_driver_sql(f"SHOW {name}").scalar()) for name in _DURABILITY}
            return {"version": f"PostgreSQL {shown.pop('server_version')}", **shown}

    def find_damage(self, seconds: float) -> str | None:
        """Return the first damage in a SQLite file, or None. A server checks itself: always None. Raises TimeoutError."""
        if not self.is_sqlite:
            return None
        with self.read() as connection:
            return find_damage_within(connection, seconds)

    def clock_skew_seconds(self) -> float:
        """Return the difference between the database's clock and ours in seconds; 0 for a file."""
        if self.is_sqlite:
            return 0.0
        with self.read() as connection:
            theirs = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
        return abs(clock.now().timestamp() - theirs)

    def size_bytes(self) -> int:
        """Return the size of the database on disk."""
        if self._file is not None:
            return self._file.size_bytes()
        with self.read() as connection:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())

    def free_bytes(self) -> int | None:
        """Return the size of the free pages in a SQLite file; None for a server."""
        if not self.is_sqlite:
            return None
        with self.read() as connection:
            pages, page_bytes = (
                int(connection.exec_driver_sql(f"PRAGMA {n}").scalar_one()) for n in ("freelist_count", "page_size")
            )
        return pages * page_bytes

    def wal_bytes(self) -> int:
        """Return the size of a SQLite file's WAL."""
        return 0 if self._file is None else self._file.wal_bytes()

    def vacuum(self) -> None:
        """Rewrite a SQLite file without its free pages. Call `take` first. Raises StorageUnavailable if the disk is too full."""
        if self.path is None:
            raise ConfigurationError("PostgreSQL vacuums by itself. To return space to the disk, run its VACUUM FULL.")
        needed = 2 * self.size_bytes()  # a copy, and the WAL through which it is written back
        free = shutil.disk_usage(self.path.parent).free
        if free < needed:
            raise StorageUnavailable(f"Not enough space to vacuum {self.path}: it may need {needed} bytes, and {free} are free.")
        try:
            with self.connect_writer() as connection:
                vacuum(connection)
        except (DBAPIError, SQLiteError) as error:
            raise StorageUnavailable(self.explain(error)) from None

    def estimate_rows(self, table: Table) -> int:
        """Estimate the number of rows of a table with row ids, without counting them."""
        statement = select(func.max(text("rowid"))).select_from(table)
        if not self.is_sqlite:
            statement = (
                select(text("reltuples::bigint")).select_from(text("pg_class")).where(text(f"oid = '{table.name}'::regclass"))
            )
        with self.read() as connection:
            return max(0, int(connection.execute(statement).scalar() or 0))


def _choose_dialect(*, is_sqlite: bool) -> tuple[Dialect, Callable[[Table], Any]]:
    """Return the dialect of the statements that are written once, and the function that starts an INSERT."""
    if is_sqlite:
        return sqlite.dialect(paramstyle="qmark"), sqlite.insert
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415  slow, and SQLite does without
    from sqlalchemy.dialects.postgresql.psycopg import dialect  # noqa: PLC0415

    return dialect(paramstyle="format"), postgresql.insert  # type: ignore[no-untyped-call]
