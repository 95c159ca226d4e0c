"""Locks that prevent a second writing process on a SQLite file, by whatever path it opens the file.

Each lock belongs to an open file description: every fork holds it too, and it ends with the last of them. There are two:

- `flock` on `<database>.lock`, which version 0.1.0 uses too;
- a record lock on the database file itself, which also holds with a hard link, a symbolic link, a bind mount or a deleted
  `.lock`. It is an open file description lock (fcntl(2)) on bytes far above those that SQLite locks (at 1 GiB). A `flock` would
  collide with SQLite's own locks on NFS, which turns it into a record lock. A traditional record lock would be lost as soon as
  the process closes any descriptor of the file.
"""

import fcntl
import os
import pwd
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socket import gethostname
from time import monotonic, sleep
from typing import NamedTuple

from receiver.errors import StorageUnavailable, WriterTaken

_ORPHAN_SECONDS = 15.0  # longer than a commit may take
_PRIVATE = 0o600
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of Linux: type, whence, start, length, process id
_LOCKED_BYTE = 1 << 61
_HOLDER_BYTES = _LOCKED_BYTE + 1  # the byte at this offset plus the holder's process id is locked too
_MAX_PROCESS_ID = 1 << 32
_ID_BYTES = 20  # version 0.1.0 reads so many bytes of the lock beside the file, and finds only the process id
_MAX_WRITTEN_BYTES = 300


class Holder(NamedTuple):
    """The process that holds a lock: its id (0: unknown), and if it is in another container, the host name there."""

    process_id: int
    elsewhere: str | None = None

    def __str__(self) -> str:
        name = f"process {self.process_id}" if self.process_id else "another process"
        return name if self.elsewhere is None else f"{name} in another container (host name {self.elsewhere})"

    @property
    def is_gone(self) -> bool:
        """Tell whether it has ended. Of one in another container, whose ids mean nothing here, this is not known."""
        return self.elsewhere is None and not is_alive(self.process_id)


class WriterLock:
    """Both locks on a SQLite file, held until `close` in this process and in every fork."""

    def __init__(self, database: Path, *, create: bool = False) -> None:
        """Acquire the locks; with `create`, make the folder and an empty file if there is none.

        Raises WriterTaken, naming the process that holds one of them, or StorageUnavailable if a file cannot be opened.
        """
        self._database = database
        self._beside = self._file = -1
        try:
            if create:
                database.parent.mkdir(parents=True, exist_ok=True)
            self._lock_beside()
            self._file = self._lock_file(os.O_CREAT if create else 0)
        except BaseException:
            self.close()
            raise

    @property
    def descriptor(self) -> int:
        """The open database file."""
        return self._file

    def follow(self) -> None:
        """Lock the file that is at the path now, and release the previous one. Raises the same errors as the constructor."""
        if os.path.samestat(os.fstat(self._file), _stat(self._database)):
            return
        found = self._lock_file(0)
        os.close(self._file)
        self._file = found

    def close(self) -> None:
        """Release the locks. Close every SQLite connection of this process to the file before: this ends their locks too."""
        for descriptor in (self._file, self._beside):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._beside = -1

    def _lock_beside(self) -> None:
        path = Path(f"{self._database}.lock")
        self._beside = _open(path, os.O_CREAT)
        self._wait_for(lambda: _flock(self._beside))
        os.ftruncate(self._beside, 0)
        os.pwrite(self._beside, f"{os.getpid():<{_ID_BYTES}}{_find_namespace()} {gethostname()}".encode(), 0)

    def _lock_file(self, flags: int) -> int:
        descriptor = _open(self._database, flags)
        try:
            self._wait_for(lambda: _lock_record(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _wait_for(self, attempt: Callable[[], Holder | None]) -> None:
        """Acquire a lock. If its holder is dead, wait for the holder's writing child, which still finishes a commit."""
        deadline = monotonic() + _ORPHAN_SECONDS
        while (holder := attempt()) is not None:
            if not holder.is_gone or monotonic() > deadline:
                name = str(holder)
                raise WriterTaken(
                    f"{name[0].upper()}{name[1:]} already writes to {self._database}. A SQLite file has one writing process; "
                    "stop that one, or use PostgreSQL for several (RECEIVER_DATABASE_URL)."
                )
            sleep(0.05)


def find_writer(database: Path) -> Holder | None:
    """Return the process that holds the lock beside a database file, or None.

    The shared lock that this takes for a moment never makes another process wait.
    """
    try:
        with Path(f"{database}.lock").open("rb") as lock:
            holder = _read_holder(lock.read(_MAX_WRITTEN_BYTES))
            if holder.process_id == 0 or holder.is_gone:
                return None
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return holder
    except OSError:
        pass
    return None


def is_locked(database: Path) -> bool:
    """Tell whether a writing process has locked this file. If the system cannot tell, return True. Close all readers before."""
    if not hasattr(fcntl, "F_OFD_SETLK"):
        return True
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _LOCKED_BYTE, 1, 0)
    try:
        with database.open("r+b") as file:
            kind, *_ = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_OFD_GETLK, wanted))
    except OSError:
        return True
    return bool(kind != fcntl.F_UNLCK)


def _flock(descriptor: int) -> Holder | None:
    """Lock a file; return None if that worked, otherwise the holder."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return _read_holder(os.pread(descriptor, _MAX_WRITTEN_BYTES, 0))
    return None


def _read_holder(written: bytes) -> Holder:
    """Read the lock beside the file. Version 0.1.0 writes the process id alone."""
    number = written[:_ID_BYTES].strip()
    namespace, _, host = written[_ID_BYTES:].decode(errors="replace").partition(" ")
    return Holder(int(number) if number.isdigit() else 0, host if namespace != _find_namespace() and host else None)


def _find_namespace() -> str:
    """Return the name of the namespace of our process ids, which each container has of its own, or nothing."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _lock_record(descriptor: int) -> Holder | None:
    """Lock the record; return None if that worked, otherwise the holder."""
    if not hasattr(fcntl, "F_OFD_SETLK"):  # not on this system: only the lock beside the file protects it
        return None
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _LOCKED_BYTE, 1, 0))
    except OSError:
        holders = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _HOLDER_BYTES, _MAX_PROCESS_ID, 0)
        kind, _, start, _, _ = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, holders))
        return Holder(0 if kind == fcntl.F_UNLCK else int(start) - _HOLDER_BYTES)
    holder = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _HOLDER_BYTES + os.getpid(), 1, 0)
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, holder)
    return None


def _open(path: Path, flags: int) -> int:
    """Open a file for reading and writing. Only this user may access a new one, whatever the umask. Raises StorageUnavailable."""
    try:
        if flags & os.O_CREAT:
            with suppress(FileExistsError):
                made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE)
                os.fchmod(made, _PRIVATE)
                return made
        return os.open(path, os.O_RDWR)
    except PermissionError:
        raise StorageUnavailable(_explain_permission(path)) from None
    except OSError as error:
        raise StorageUnavailable(f"Cannot open {path} for writing: {error.strerror}.") from None


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise StorageUnavailable(f"Cannot find {path}: {error.strerror}.") from None


def _explain_permission(path: Path) -> str:
    try:
        owner = path.stat().st_uid
    except OSError:
        return f"This user may not create {path}. Give it write permission for {path.parent}."
    names = [_name_user(user) for user in (owner, os.geteuid())]
    return (
        f"{path} belongs to {names[0]} and {names[1]} may not write to it. Run `chown {names[1]} {path}` as {names[0]} or root."
    )


def _name_user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def is_alive(process_id: int) -> bool:
    """Tell whether a process of this machine runs."""
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it belongs to another user
    return True
