"""Put a copy in the place of a SQLite database."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from receiver import clock
from receiver.errors import ConfigurationError, SchemaOutdated
from receiver.storage.database_copies import CopyFacts, read_copy
from receiver.storage.lock import WriterLock
from receiver.storage.stepwise_backup import naming, sync_file
from receiver.storage.version import explain_mismatch
from receiver.storage.wal import wal_of

_PIECE_BYTES = 1 << 20


class Restored(NamedTuple):
    """The facts of the copy, and the folder of the files that were there before; None if there were none."""

    facts: CopyFacts
    aside: Path | None


def restore(path: Path, file: Path, advance: Callable[[int], object], interrupted: Callable[[], bool]) -> Restored:
    """Check the copy `file`, move the files of the database aside, and put the copy at `path`.

    `advance` gets the number of bytes of each piece. Raises WriterTaken while a service has the database, SchemaOutdated for a
    copy of a later version, ConfigurationError for one with the name of our new file, StorageUnavailable for a bad copy, OSError,
    and KeyboardInterrupt. After an error nothing has changed, unless a file could not be moved: then there is no database until
    this has run again.
    """
    facts = read_copy(file, interrupted)
    if facts.version.is_later and (reason := explain_mismatch(facts.version)):
        raise SchemaOutdated(reason)
    with closing(WriterLock(path, create=True)):
        path = Path(os.path.realpath(path))  # SQLite puts the WAL beside the file itself, not beside a link to it
        fresh = Path(f"{path}.restoring")
        if fresh.exists() and fresh.samefile(file):
            raise ConfigurationError(f"{file} has the name of the file that this command makes. Give it another name.")
        try:
            _copy(file, fresh, advance, interrupted)
            _give_to_owner(fresh, path)
            moved = _move_aside(path)
            fresh.rename(path)
            aside = _stamp(moved)
            sync_file(path.parent)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
    return Restored(facts, aside)


def _copy(file: Path, fresh: Path, advance: Callable[[int], object], interrupted: Callable[[], bool]) -> None:
    fresh.unlink(missing_ok=True)  # of an attempt that was killed
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with file.open("rb") as source, open(descriptor, "wb") as target:  # noqa: PTH123  an open file
        while piece := source.read(_PIECE_BYTES):
            if interrupted():
                raise KeyboardInterrupt
            with naming(fresh):
                target.write(piece)
                target.flush()
            advance(len(piece))
        with naming(fresh):
            os.fsync(descriptor)


def _give_to_owner(fresh: Path, path: Path) -> None:
    """Give the file to the owner of the database, or of its folder if the database is lost."""
    if os.geteuid() == 0:
        known = path.stat() if path.stat().st_size else path.parent.stat()
        os.chown(fresh, known.st_uid, known.st_gid)


def _move_aside(path: Path) -> Path:
    """Move the database and the files beside it into a folder, or the rest of them after an attempt that was killed.

    The database goes first: without it, its WAL is a sign that a database is missing. Without its WAL, the database would be
    served without its last commits.
    """
    is_lost = path.stat().st_size == 0
    aside = Path(f"{path}.before-restore")
    if not is_lost and (aside / path.name).exists():  # killed when the copy was in place
        _stamp(aside)
    aside.mkdir(mode=0o700, exist_ok=True)
    for name in (path, wal_of(path), Path(f"{path}-shm")):
        if name.exists() and not (name == path and is_lost):
            name.rename(aside / name.name)
            sync_file(path.parent)
    return aside


def _stamp(aside: Path) -> Path | None:
    """Give the folder a name with the time, which ends the restore; return it, or None if nothing was there before."""
    if not any(aside.iterdir()):
        aside.rmdir()
        return None
    return aside.rename(f"{aside}-{clock.now():%Y%m%dT%H%M%S.%fZ}")
