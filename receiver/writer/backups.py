"""The backup that the writing process takes between its batches. There is one at most."""

import os
import shutil
from pathlib import Path
from secrets import compare_digest
from stat import S_ISREG
from threading import Thread
from time import monotonic

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from receiver import clock
from receiver.domain.backups import BackupProgress
from receiver.errors import AlreadyRunning, NotFound, ReceiverError, StorageUnavailable, UnexpectedShape
from receiver.storage.database import Database
from receiver.storage.snapshots import count_rows, open_snapshot
from receiver.storage.stepwise_backup import StepwiseBackup, sync_file
from receiver.storage.transactions import Transactions

_WAIT_SECONDS = 0.005  # for the sync of the copy

_log = structlog.get_logger()


class Backups:
    """Begins a backup, takes its steps, and reports its progress. For the thread that writes."""

    def __init__(self, database: Database, transactions: Transactions, abandoned_seconds: float = 60.0) -> None:
        """`abandoned_seconds`: a backup ends if nobody asks for its progress for so long."""
        self._database = database
        self._transactions = transactions
        self._abandoned_seconds = abandoned_seconds
        self._run = ""
        self._file = Path()
        self._backup: StepwiseBackup | None = None
        self._ending: _Ending | None = None
        self._error: ReceiverError | None = None
        self._asked_at = 0.0

    def begin(self, file: str, proof: str) -> BackupProgress:
        """Begin a backup into a file whose content is `proof`: whoever asks has made it, so they may write there.

        Raises AlreadyRunning, UnexpectedShape or StorageUnavailable.
        """
        if self._database.path is None:
            raise UnexpectedShape("A PostgreSQL database is backed up with its own programs, such as pg_dump.")
        if self._backup is not None or (self._ending is not None and not self._ending.is_over()):
            raise AlreadyRunning(f"A backup into {self._file} runs already.")
        path = Path(file)
        _check_proof(path, proof)
        self._check_room(path)
        self._run, self._file = clock.new_id(clock.now()), path
        self._ending = self._error = None
        os.truncate(path, 0)
        self._backup = self._transactions.begin_backup(path)
        self._asked_at = monotonic()
        return self._progress(self._backup)

    def read_progress(self, run: str) -> BackupProgress:
        """Return the progress of a backup. Raises NotFound, or the error that ended the backup."""
        self._check_run(run)
        self._asked_at = monotonic()
        if self._error is not None:
            raise self._error
        if self._backup is not None:
            return self._progress(self._backup)
        assert self._ending is not None
        return self._ending.progress()

    def cancel(self, run: str) -> None:
        """Stop a backup. Raises NotFound."""
        self._check_run(run)
        self._stop(StorageUnavailable("The backup was cancelled."))

    def wait_seconds(self, otherwise: float) -> float:
        """Return the time to wait for deliveries before the next step, or `otherwise` while no backup runs."""
        if self._backup is None:
            return otherwise
        return 0.0 if self._backup.is_ready() else _WAIT_SECONDS

    def advance(self) -> None:
        """Take a step of the backup, if one runs and is ready."""
        backup = self._backup
        if backup is None or not backup.is_ready():
            return
        if monotonic() > self._asked_at + self._abandoned_seconds:
            self._stop(
                StorageUnavailable(f"Nobody asked for the progress of the backup for {self._abandoned_seconds:g} seconds.")
            )
            return
        try:
            if backup.step():
                self._end(backup)
        except (ReceiverError, DBAPIError) as error:
            self._stop(error if isinstance(error, ReceiverError) else StorageUnavailable(f"{self._file}: {error}"))

    def _end(self, backup: StepwiseBackup) -> None:
        """Let a thread sync the copy and count the rows of this moment, before the next commit."""
        assert self._database.path is not None
        self._ending = _Ending(self._file, open_snapshot(self._database.path), self._progress(backup))
        self._backup = None

    def _stop(self, error: ReceiverError) -> None:
        backup, self._backup, self._error = self._backup, None, error
        if backup is not None:
            backup.close()
            _log.warning("backup_ended", file=str(self._file), cause=error.message)

    def _progress(self, backup: StepwiseBackup) -> BackupProgress:
        return BackupProgress(self._run, backup.copied_pages, backup.pages)

    def _check_run(self, run: str) -> None:
        if not self._run or run != self._run:
            raise NotFound("This backup is not known. The service was started again, or another backup has begun.")

    def _check_room(self, path: Path) -> None:
        needed, free = self._database.size_bytes(), shutil.disk_usage(path.parent).free
        if free < needed:
            raise UnexpectedShape(f"Not enough space for {path}: it may need {needed} bytes, and {free} are free.")


class _Ending(Thread):
    """Syncs a copy, and counts the rows of the database that it is a copy of."""

    def __init__(self, file: Path, snapshot: Connection, progress: BackupProgress) -> None:
        super().__init__(name="backup ending", daemon=True)
        self._file = file
        self._snapshot = snapshot
        self._progress = progress
        self._error: StorageUnavailable | None = None
        self.start()

    def run(self) -> None:
        try:
            sync_file(self._file)
            self._progress = self._progress._replace(rows=count_rows(self._snapshot))
        except (OSError, DBAPIError) as error:
            self._error = StorageUnavailable(f"{self._file}: {error}")
        finally:
            self._snapshot.close()

    def progress(self) -> BackupProgress:
        """Return the progress; `rows` is None until the end. Raises StorageUnavailable."""
        if self._error is not None:
            raise self._error
        return self._progress

    def is_over(self) -> bool:
        """Tell whether nothing is left to do."""
        return not self.is_alive()


def _check_proof(path: Path, proof: str) -> None:
    """Raise UnexpectedShape unless the content of a regular file is `proof`."""
    expected = f"{path}: expected a file that this service can write and that contains the proof of the request"
    if not path.is_absolute():
        raise UnexpectedShape(f"{path}: expected the absolute path of a file.")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise UnexpectedShape(f"{expected} ({error.strerror}).") from None
    try:
        is_ours = S_ISREG(os.fstat(descriptor).st_mode) and compare_digest(os.read(descriptor, 1000), proof.encode())
    finally:
        os.close(descriptor)
    if not is_ours:
        raise UnexpectedShape(f"{expected}.")
