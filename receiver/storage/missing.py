"""Signs that a SQLite database was lost. A new, empty database at its path would hide the loss.

- A writing process leaves `<database>.lock` beside the file (`lock.py`).
- A WAL with content belongs to a file (`wal.py`). SQLite removes a WAL beside an empty file.
- A process that holds that lock but not a lock on this file has another file open: the lost one.
"""

from pathlib import Path

from receiver.errors import DatabaseLost, NoDatabase, StorageUnavailable
from receiver.storage.lock import find_writer, is_locked
from receiver.storage.wal import read_salt, wal_of


def explain_missing(path: Path) -> StorageUnavailable:
    """Return the error for a path without a file: DatabaseLost if there was a database, otherwise NoDatabase."""
    lock = Path(f"{path}.lock")
    if (writer := find_writer(path)) is not None:
        return DatabaseLost(f"The database file {path} is gone, but {writer} serves it. {explain_restore(path)}")
    if read_salt(path) is not None:
        return DatabaseLost(
            f"The database file {path} is gone; its write-ahead log {wal_of(path)} is left. {explain_restore(path)}"
        )
    if lock.exists():
        restart = f"To begin with an empty database, remove {lock} first."
        return DatabaseLost(f"The database file {path} is gone; its lock {lock} is left. {explain_restore(path)} {restart}")
    return NoDatabase(f"There is no database at {path} yet. Run `receiver migrate` first.")


def explain_replaced(path: Path) -> DatabaseLost | None:
    """Return the error for a file that replaced the served database; None if there is no file, or no sign of that."""
    if not path.exists():
        return None
    writer = find_writer(path)
    if writer is not None and not is_locked(path):
        return DatabaseLost(f"{path} is not the database that {writer} serves: it was replaced. {explain_restore(path)}")
    return explain_left_wal(path)


def explain_left_wal(path: Path) -> DatabaseLost | None:
    """Return the error for a missing or empty file beside a WAL with content, which belongs to another file; otherwise None."""
    if read_salt(path) is None or (path.exists() and path.stat().st_size > 0):
        return None
    found = "is empty" if path.exists() else "is gone"
    return DatabaseLost(f"The database file {path} {found}; its write-ahead log {wal_of(path)} is left. {explain_restore(path)}")


def explain_restore(path: Path) -> str:
    """Return the instruction to restore a file."""
    return f"Put the file back, or restore your copy of it to {path}."
