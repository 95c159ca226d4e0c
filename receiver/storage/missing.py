"""What shows that a SQLite database belongs at a path where there is none: an empty one in its place would hide the loss.

- `<database>.lock` stays beside each file that a writing process ever had (`lock.py`).
- A write-ahead log with content belongs to a file (`wal.py`). SQLite removes one that lies beside an empty file.
- A process that holds the lock, but not this file, has another file open: the one that was here.
"""

from pathlib import Path

from receiver.errors import DatabaseLost, NoDatabase, StorageUnavailable
from receiver.storage.lock import find_writer, is_locked
from receiver.storage.wal import read_salt, wal_of


def explain_missing(path: Path) -> StorageUnavailable:
    """Return the error for a path without a file: DatabaseLost if there was one, else NoDatabase."""
    lock = Path(f"{path}.lock")
    if (writer := find_writer(path)) is not None:
        return DatabaseLost(f"The database file {path} is gone, but process {writer} serves it. {explain_restore(path)}")
    if read_salt(path) is not None:
        return DatabaseLost(
            f"The database file {path} is gone; its write-ahead log {wal_of(path)} is left. {explain_restore(path)}"
        )
    if lock.exists():
        anew = f"To begin with an empty database, remove {lock} first."
        return DatabaseLost(f"The database file {path} is gone; its lock {lock} is left. {explain_restore(path)} {anew}")
    return NoDatabase(f"There is no database at {path} yet. Run `receiver migrate` first.")


def explain_replaced(path: Path) -> DatabaseLost | None:
    """Return the error for a file that is not served if another file belongs at its path; None if there is no file."""
    if not path.exists():
        return None
    writer = find_writer(path)
    if writer is not None and not is_locked(path):
        return DatabaseLost(f"{path} is not the database that process {writer} serves: it was replaced. {explain_restore(path)}")
    return explain_left_wal(path)


def explain_left_wal(path: Path) -> DatabaseLost | None:
    """Return the error for no file, or an empty one, beside a write-ahead log with content: that belongs to another file."""
    if read_salt(path) is None or (path.exists() and path.stat().st_size > 0):
        return None
    found = "is empty" if path.exists() else "is gone"
    return DatabaseLost(f"The database file {path} {found}; its write-ahead log {wal_of(path)} is left. {explain_restore(path)}")


def explain_restore(path: Path) -> str:
    """Say how a file comes back."""
    return f"Put the file back, or restore your copy of it to {path}."
