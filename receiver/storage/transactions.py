"""Transactions on the one connection that writes: retries, and a new connection after a fault."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection

from receiver.errors import ReceiverError, RowsRefused, StorageUnavailable
from receiver.storage.additions import explain_additions, find_additions
from receiver.storage.database import Database
from receiver.storage.engines import checkpoint, checkpoint_passive, has_lost_sync
from receiver.storage.faults import Fault, database_errors, find_fault, helps_to_reconnect, is_refusal, quotes_value
from receiver.storage.files import DatabaseFileLost, OpenFiles, WalFileLost
from receiver.storage.notifications import has_noted, notify
from receiver.storage.postgresql import check_open, take_warning
from receiver.storage.stepwise_backup import StepwiseBackup
from receiver.storage.version import VersionCheck

_T = TypeVar("_T")
_MAX_ATTEMPTS = 20
_LONG_WAL_BYTES = 64 << 20  # SQLite begins to empty the WAL at 8 or 16 MiB; a large batch adds 30


class Transactions:
    """Runs transactions on one connection, which it opens when needed and drops after a fault. For one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._version = VersionCheck()
        self._connection: Connection | None = None
        self._files: OpenFiles | None = None
        self._abandoned: list[Connection | None] = []
        self._backup: StepwiseBackup | None = None
        self._lost_sync = False
        self._committing = False

    def run(self, work: Callable[[Connection], _T]) -> _T:
        """Run `work` in a transaction and commit it; when this returns, the result is on disk.

        `work` runs again if another process was first with a key. After a fault of the database it runs once more, on a new
        connection, unless the commit itself failed, because it may have happened. Raises StorageUnavailable if the database is
        at fault (RowsRefused if it may take other rows), and any other error of `work`. After an error nothing is stored.
        """
        repeated = False
        for _ in range(_MAX_ATTEMPTS):
            try:
                return self._attempt(work)
            except Exception as error:
                fault = find_fault(error)
                if fault is Fault.RACE:
                    continue
                if is_refusal(error) and (additions := self._find_additions()):
                    raise RowsRefused(f"{self._explain_refusal(error)}. {additions}") from error
                if fault is not Fault.STORAGE:
                    raise
                self._drop(error)
                self._lost_sync |= has_lost_sync(error)
                if repeated or self._committing or not helps_to_reconnect(error):
                    raise StorageUnavailable(self._database.explain(error)) from error
                repeated = True
        if additions := self._find_additions():
            raise RowsRefused(f"{self._database}: rows were dropped. {additions}")
        raise StorageUnavailable(f"{self._database}: other processes were first {_MAX_ATTEMPTS} times in a row")

    def _find_additions(self) -> str | None:
        """Name what may refuse or drop rows and is not ours; None if there is nothing, or if it cannot be found out."""
        with suppress(StorageUnavailable, *database_errors()):
            connection = self._ready()
            with connection.begin():
                additions = find_additions(connection)
            return explain_additions(additions) if additions else None
        return None

    def _explain_refusal(self, error: Exception) -> str:
        """Return one line about a refused row, without the value that PostgreSQL quotes."""
        return f"{self._database}: a value was refused" if quotes_value(error) else self._database.explain(error)

    def fails(self, work: Callable[[Connection], Any]) -> bool:
        """Tell whether `work` fails because of its content, or because our own code does. What it writes is undone.

        Raises StorageUnavailable if the database is at fault.
        """

        def undo_after(connection: Connection) -> None:
            savepoint = connection.begin_nested()
            work(connection)
            savepoint.rollback()

        try:
            self.run(undo_after)
        except ReceiverError:
            raise
        except Exception:
            return True
        return False

    def _attempt(self, work: Callable[[Connection], _T]) -> _T:
        self._committing = False
        connection = self._ready()
        with connection.begin():
            self._version.check(connection)
            result = work(connection)
            take_warning(connection)
            check_open(connection)
            self._committing = True
        # PostgreSQL only warns if its wait for the standby was cancelled: after a failover the commit may be missing
        if warning := take_warning(connection):
            raise StorageUnavailable(f"{self._database}: {warning}")
        self._check_files()  # a commit into a deleted file is lost
        if self._files is not None:
            self._files.mark_wal(connection)
        return result

    def _ready(self) -> Connection:
        """Return the connection to the file that is at the path now."""
        if self._files is not None and self._files.is_replaced():
            self._abandoned.append(self._take_connection())
        if self._connection is None:
            self._open()
        self._check_files()
        assert self._connection is not None
        return self._connection

    def _open(self) -> None:
        self._database.take_again()
        connection = self._connection = self._database.connect_writer(journal_in_memory=True)
        self._secure_wal(connection)
        self._files = self._database.open_files()

    def _check_files(self) -> None:
        if self._files is not None:
            self._files.check()

    def _drop(self, error: Exception) -> None:
        """Drop the connection after a fault, unless committed rows can be reached through it alone.

        A database file that is not at its path may be put back. The content of a removed WAL is checkpointed into the file first,
        for which old readers may have to end.
        """
        if isinstance(error, DatabaseFileLost):
            return
        if isinstance(error, WalFileLost) and self._connection is not None and not checkpoint_passive(self._connection):
            return
        self._close()

    def _take_connection(self) -> Connection | None:
        if self._backup is not None:
            self._backup.close()
            self._backup = None
        connection, self._connection, self._files = self._connection, None, None
        return connection

    def _secure_wal(self, connection: Connection) -> None:
        """Checkpoint the WAL into the file before anything is answered from it.

        After a sync that failed, earlier writes may be lost and yet be visible, and the next sync reports no error. A redelivered
        message would then be answered as a duplicate, and be on no disk.
        """
        if checkpoint_passive(connection):
            self._lost_sync = False
        elif self._lost_sync:
            raise StorageUnavailable(f"{self._database}: a sync failed, and the content of the WAL is not on disk yet")

    def checkpoint(self, wait_ms: int = 0) -> bool:
        """Checkpoint the WAL of a file and empty it; return whether that worked. A reader may prevent it."""
        self.run(lambda _: None)  # opens the connection, if there is none
        return self._connection is not None and checkpoint(self._connection, wait_ms)

    def begin_backup(self, file: Path) -> StepwiseBackup:
        """Begin a backup of a SQLite file into another file. It ends with an error if the connection is dropped."""
        self.run(lambda _: None)  # opens the connection, if there is none
        assert self._connection is not None
        self._backup = StepwiseBackup(self._connection.connection.driver_connection, file)
        return self._backup

    def has_long_wal(self) -> bool:
        """Tell whether the WAL of a file is so long that there must always have been a reader."""
        return self._files is not None and self._files.wal_bytes() > _LONG_WAL_BYTES

    def has_changes(self) -> bool:
        """Tell whether relays of other processes must be notified of committed changes. With one writer there are none."""
        return not self._database.has_one_writer and self._connection is not None and has_noted(self._connection)

    def wake_relays(self) -> None:
        """Notify relays of other processes about committed changes. If that fails, they find the changes at their next poll."""
        if self._connection is None or not self.has_changes():
            return
        try:
            notify(self._connection)
        except Exception as error:
            if helps_to_reconnect(error):
                self._close()

    def close(self) -> None:
        """Notify relays about new changes, and drop the connection; the next transaction opens another one."""
        self.wake_relays()
        self._close()

    def _close(self) -> None:
        """Drop the connection.

        If its file is no longer at its path, never close it: SQLite would remove the WAL of the file that is there now.
        """
        is_lost = self._files is not None and self._files.is_database_lost()
        connection = self._take_connection()
        if is_lost:
            self._abandoned.append(connection)
        elif connection is not None:
            try:
                connection.close()
            except Exception:
                connection.invalidate()
