"""The OS lock beside a SQLite file: one process writes to it, and its own writing child."""

import fcntl
import os
from pathlib import Path
from time import monotonic, sleep
from typing import IO

from receiver.errors import StorageUnavailable, WriterTaken

_ORPHAN_SECONDS = 15.0  # longer than a commit may take


def take_lock(database: Path) -> IO[str]:
    """Lock `<database>.lock` until the returned file is closed, here and in every fork.

    Creates the folder. Raises WriterTaken, naming the process that holds it, or StorageUnavailable if there can be no such file.
    """
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        lock = Path(f"{database}.lock").open("a+", encoding="ascii")  # noqa: SIM115  the caller closes it
    except OSError as error:
        raise StorageUnavailable(f"Cannot write beside {database}: {error.strerror}.") from None
    holder = _wait_for(lock)
    if holder is not None:
        lock.close()
        raise WriterTaken(
            f"Process {holder} already writes to {database}. A SQLite file has one writing process; "
            "stop that one, or use PostgreSQL for several (RECEIVER_DATABASE_URL)."
        )
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _wait_for(lock: IO[str]) -> str | None:
    """Lock the file, or return the id of the process that holds it.

    Where that process is dead, its writing child is still finishing a commit: that is waited for.
    """
    deadline = monotonic() + _ORPHAN_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            if _lives(holder) or monotonic() > deadline:
                return holder
            sleep(0.05)
        else:
            return None


def _lives(process_id: str) -> bool:
    try:
        os.kill(int(process_id), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass  # somebody else's
    return True
