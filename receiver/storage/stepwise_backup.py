"""A copy of a SQLite database, taken on the writing connection in steps between its commits.

A backup by another connection starts over at each commit (sqlite.org/c3ref/backup_finish.html), and one long read keeps the WAL
from being emptied. On the writing connection neither happens: a commit also writes the pages that are copied already to the copy.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Semaphore, Thread
from typing import Any

from receiver.errors import StorageUnavailable

_STEP_BYTES = 512 << 10  # a delivery waits for a step of one or two milliseconds
_SYNC_BYTES = 16 << 20  # otherwise the system writes gigabytes at once, and the syncs of commits wait behind them
_CLOSE_SECONDS = 1.0


class StepwiseBackup:
    """A backup of the database of `source`, a connection of the driver, into an empty file.

    The driver copies everything in one call. So the call runs in a thread that waits between the steps: at any time only one of
    the two threads uses the connection.
    """

    def __init__(self, source: Any, file: Path) -> None:
        self.pages = self.copied_pages = 0
        self._source = source
        self._file = file
        self._page_bytes = self._synced_pages = 0
        self._error: Exception | None = None
        self._is_whole = self._is_closed = False
        self._next, self._stepped = Semaphore(0), Semaphore(0)
        self._ready = Event()
        self._ready.set()
        self._thread = Thread(target=self._run, name="backup", daemon=True)
        self._thread.start()

    def is_ready(self) -> bool:
        """Tell whether a step can be taken now; otherwise the copy is being synced."""
        return self._ready.is_set()

    def step(self) -> bool:
        """Copy some pages, outside of transactions; return whether the copy is whole.

        Raises StorageUnavailable, also if the backup was closed.
        """
        if self._is_closed:
            raise StorageUnavailable("The connection to the database was lost during the backup.")
        self._ready.clear()
        self._next.release()
        self._stepped.acquire()
        if self._error is not None:
            raise StorageUnavailable(f"{self._file}: {self._error}") from self._error
        return self._is_whole

    def close(self) -> None:
        """Stop the backup and release the connection. Do nothing at the end."""
        self._is_closed = True
        self._next.release()
        self._thread.join(_CLOSE_SECONDS)  # a sync, which does not use the connection, may take longer

    def _run(self) -> None:
        self._next.acquire()
        try:
            if not self._is_closed:
                self._copy()
                self._is_whole = True
        except _BackupClosed:
            pass
        except (sqlite3.Error, OSError) as error:
            self._error = error
        self._ready.set()
        self._stepped.release()

    def _copy(self) -> None:
        copy = sqlite3.connect(self._file, isolation_level=None)
        try:
            copy.execute("PRAGMA synchronous=OFF")  # `_pause` syncs it
            copy.execute("PRAGMA journal_mode=OFF")
            self._page_bytes = self._source.execute("PRAGMA page_size").fetchone()[0]
            self._source.backup(copy, pages=_STEP_BYTES // self._page_bytes, progress=self._pause, sleep=0)
        finally:
            copy.close()

    def _pause(self, _status: int, remaining: int, pages: int) -> None:
        """End a step and wait for the next one, unless this was the last."""
        self.pages, self.copied_pages = pages, pages - remaining
        if remaining == 0:
            return
        self._stepped.release()
        if (self.copied_pages - self._synced_pages) * self._page_bytes >= _SYNC_BYTES:
            sync_file(self._file)
            self._synced_pages = self.copied_pages
        self._ready.set()
        self._next.acquire()
        if self._is_closed:
            raise _BackupClosed


class _BackupClosed(Exception):
    """Ends the driver's call."""


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Name a file in the error of a write to it: an open file has no name. Raises StorageUnavailable."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(f"Cannot write {file}: {error.strerror}.") from None


def sync_file(file: Path) -> None:
    """Sync a file or a folder. Raises OSError."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
