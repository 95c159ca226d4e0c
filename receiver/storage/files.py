"""The files of a SQLite database, seen from outside: who writes to them, and whether their paths still lead to what is open."""

import os
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from receiver.errors import StorageUnavailable, WriterTaken
from receiver.storage.lock import WriterLock
from receiver.storage.missing import explain_left_wal, explain_missing
from receiver.storage.wal import Mark, check_wal, mark_wal, read_file_mark, read_salt, wal_of

_MAGIC = b"SQLite format 3\0"


class DatabaseFileLost(StorageUnavailable):
    """The path no longer leads to the database file that is open. What was committed may be in no file that has a name."""


class WalFileLost(StorageUnavailable):
    """The write-ahead log or its index was removed or replaced; the database file is still there."""


class _Identity(NamedTuple):
    device: int
    inode: int


class OpenFiles:
    """The database file, the write-ahead log and its index that a connection has open. Make it as soon as all three exist.

    `descriptor` is the open database file; without one it is the file to which the path leads.
    """

    def __init__(self, path: Path, descriptor: int = -1) -> None:
        self._path = path
        self._descriptor = descriptor
        self._is_damaged = False
        self._salt: int | None = None
        self._mark: Mark | None = None
        self._beside = (wal_of(path), Path(f"{os.path.realpath(path)}-shm"))
        self._identities = self._identify_all()
        if descriptor >= 0:
            self._identities[0] = _identify(descriptor)
        self._size_bytes = 0

    def check(self) -> None:
        """Raise DatabaseFileLost or WalFileLost unless all three paths lead to what they led to, and nothing was cut off."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise DatabaseFileLost(f"The database file {self._path} is gone ({error.strerror}). Put it back.") from None
        if _Identity(found.st_dev, found.st_ino) != self._identities[0]:
            raise DatabaseFileLost(f"The database file {self._path} was replaced by another one.")
        if found.st_size < self._size_bytes:
            self._is_damaged = True
            raise DatabaseFileLost(f"The database file {self._path} was cut short. Stop the service and restore the file.")
        self._size_bytes = found.st_size
        if self._mark is not None and read_file_mark(self._descriptor).current not in self._mark:
            self._is_damaged = True
            raise DatabaseFileLost(f"The database file {self._path} was overwritten. Stop the service and restore the file.")
        for name, identity in zip(self._beside, self._identities[1:], strict=True):
            if _identify(name) != identity:
                raise WalFileLost(f"{name} was removed or replaced while it was in use.")

    def has_changed(self) -> bool:
        """Tell whether one of the three paths leads elsewhere now."""
        return self._identify_all() != self._identities

    def is_database_lost(self) -> bool:
        """Tell whether the path does not lead to the database file now, or somebody else has written to that."""
        return self._is_damaged or _identify(self._path) != self._identities[0]

    def mark_wal(self, connection: Connection) -> None:
        """Mark the write-ahead log as belonging to the file if SQLite has begun it again (`wal.py`)."""
        salt = read_salt(self._path)
        if salt is not None and salt != self._salt and self._descriptor >= 0:
            self._mark = mark_wal(connection, self._path)
            self._salt = self._mark.current

    def is_replaced(self) -> bool:
        """Tell whether the path leads to another file now."""
        return _identify(self._path) not in (None, self._identities[0])

    def _identify_all(self) -> list[_Identity | None]:
        return [_identify(name) for name in (self._path, *self._beside)]


class DatabaseFile:
    """A SQLite file by its path: taken by one process to write, read by others."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: WriterLock | None = None
        self._read: OpenFiles | None = None

    def take(self, *, create: bool) -> None:
        """Lock the file against other writing processes; with `create`, make it where there is none.

        Raises NoDatabase, DatabaseLost, WriterTaken, StorageUnavailable.
        """
        if self._lock is None:
            if not create and not self._path.exists():
                raise explain_missing(self._path)
            if lost := explain_left_wal(self._path):
                raise lost
            lock = WriterLock(self._path, create=create)
            try:
                check_wal(self._path, lock.descriptor)
            except BaseException:
                lock.close()
                raise
            self._lock = lock

    def take_again(self) -> None:
        """Lock the file to which the path leads now, if the one before was locked. Raises StorageUnavailable.

        An empty file is refused: SQLite takes it for a new database, and removes the write-ahead log that lies beside it.
        """
        if self._lock is None:
            return
        try:
            self._lock.follow()
        except WriterTaken as error:
            raise StorageUnavailable(error.message) from None
        if os.pread(self._lock.descriptor, len(_MAGIC), 0) != _MAGIC:
            raise StorageUnavailable(f"{self._path} is not a SQLite database.")
        check_wal(self._path, self._lock.descriptor)

    def opened(self) -> OpenFiles:
        """Return the files that were opened since the file was taken."""
        return OpenFiles(self._path, -1 if self._lock is None else self._lock.descriptor)

    def has_changed_for_readers(self) -> bool:
        """Tell whether the path leads to other files than when this was asked last, so that readers have to open them.

        Raises NoDatabase if there never was a database, DatabaseLost or DatabaseFileLost if it is gone.
        """
        if not self._path.exists():
            raise (
                explain_missing(self._path)
                if self._read is None
                else DatabaseFileLost(f"The database file {self._path} is gone.")
            )
        if self._read is not None and not self._read.has_changed():
            return False
        if lost := explain_left_wal(self._path):
            raise lost  # to open an empty file, even to read it, removes the log beside it
        self._read = OpenFiles(self._path)
        return True

    def size_bytes(self) -> int:
        """Return the size of the file and of its write-ahead log."""
        return self.wal_bytes() + (self._path.stat().st_size if self._path.exists() else 0)

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        log = wal_of(self._path)
        return log.stat().st_size if log.exists() else 0

    def close(self) -> None:
        """Let others write. Every connection of this process to the file has to be closed before."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _identify(file: Path | int) -> _Identity | None:
    try:
        found = os.stat(file)  # noqa: PTH116  of a path or of an open file
    except OSError:
        return None
    return _Identity(found.st_dev, found.st_ino)
