"""The files of a SQLite database: their lock, and a check that their paths still lead to the open files."""

import os
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from receiver.errors import StorageUnavailable, WriterTaken
from receiver.storage.lock import WriterLock
from receiver.storage.missing import explain_left_wal, explain_missing
from receiver.storage.wal import Mark, check_wal, mark_wal, read_file_mark, read_salt_of, wal_of

_MAGIC = b"SQLite format 3\0"


class DatabaseFileLost(StorageUnavailable):
    """The path no longer leads to the open database file. Commits may have gone to a file that has no name any more."""


class WalFileLost(StorageUnavailable):
    """The WAL or its index was removed or replaced; the database file is still there."""


class _Identity(NamedTuple):
    device: int
    inode: int


class OpenFiles:
    """The three open files of a connection: database, WAL and index of the WAL. Create this as soon as all three exist.

    `descriptor` is the open database file. Without one (-1), the file at the path is used.
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
        """Raise DatabaseFileLost or WalFileLost if one of the three files was removed, replaced, cut short or overwritten."""
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
        """Tell whether one of the three paths leads to another file now."""
        return self._identify_all() != self._identities

    def is_database_lost(self) -> bool:
        """Tell whether the path no longer leads to the open database file, or another program has overwritten the file."""
        return self._is_damaged or _identify(self._path) != self._identities[0]

    def mark_wal(self, connection: Connection) -> None:
        """Mark the WAL as belonging to the file if SQLite has restarted it (`wal.py`)."""
        salt = read_salt_of(self._beside[0])
        if salt is not None and salt != self._salt and self._descriptor >= 0:
            self._mark = mark_wal(connection, self._path)
            self._salt = self._mark.current

    def wal_bytes(self) -> int:
        """Return the size of the WAL."""
        return _size_of(self._beside[0])

    def is_replaced(self) -> bool:
        """Tell whether the path leads to another file now."""
        return _identify(self._path) not in (None, self._identities[0])

    def _identify_all(self) -> list[_Identity | None]:
        return [_identify(name) for name in (self._path, *self._beside)]


class DatabaseFile:
    """A SQLite file by its path, locked by the one process that writes, and read by others."""

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
        """Lock the file that is at the path now, if the previous one was locked. Raises StorageUnavailable.

        An empty file is refused: SQLite treats it as a new database, and removes the WAL beside it.
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
        """Return the open files, once the writing connection is open."""
        return OpenFiles(self._path, -1 if self._lock is None else self._lock.descriptor)

    def has_changed_for_readers(self) -> bool:
        """Tell whether the path leads to other files than at the last call, so that readers must be opened again.

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
            raise lost  # opening an empty file, even read-only, removes the WAL beside it
        self._read = OpenFiles(self._path)
        return True

    def size_bytes(self) -> int:
        """Return the size of the file and of its WAL."""
        return self.wal_bytes() + (self._path.stat().st_size if self._path.exists() else 0)

    def wal_bytes(self) -> int:
        """Return the size of the WAL."""
        return _size_of(wal_of(self._path))

    def close(self) -> None:
        """Release the lock. Close every connection of this process to the file before."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _size_of(wal: Path) -> int:
    try:
        return wal.stat().st_size
    except OSError:
        return 0


def _identify(file: Path | int) -> _Identity | None:
    try:
        found = os.stat(file)  # noqa: PTH116  of a path or of an open file
    except OSError:
        return None
    return _Identity(found.st_dev, found.st_ino)
