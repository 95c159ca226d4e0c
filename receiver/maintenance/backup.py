"""Take a backup of a SQLite database into a file."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from receiver import clock
from receiver.domain.backups import BackupProgress
from receiver.errors import ConfigurationError, StorageUnavailable
from receiver.maintenance.execution import MakeEntry
from receiver.storage.database_copies import CopyFacts, read_copy
from receiver.storage.stepwise_backup import naming, sync_file
from receiver.writer.commands.backups import BeginBackup, CancelBackup, ReadBackupProgress
from receiver.writer.executor import Do

_PARTIAL = ".partial"


class Backup(NamedTuple):
    """A file to make, and `partial`, which is written first. `proof` shows the writing process that we may write there."""

    file: Path
    partial: Path
    proof: str


def prepare_backup(file: Path, owner: os.stat_result | None) -> Backup:
    """Make the partial file of a backup, for the owner of the database if this user may do that.

    Raises ConfigurationError, StorageUnavailable or OSError, and then leaves no file.
    """
    backup = Backup(file.absolute(), Path(f"{file.absolute()}{_PARTIAL}"), secrets.token_hex(16))
    if os.path.lexists(backup.file):
        raise ConfigurationError(f"{file} exists already. Choose another name.")
    try:
        descriptor = os.open(backup.partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        words = "another backup is writing it, or was broken off. If none runs, remove it"
        raise ConfigurationError(f"{backup.partial} exists: {words}.") from None
    try:
        with naming(backup.partial):
            if owner is not None and os.geteuid() == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            os.write(descriptor, backup.proof.encode())
    except BaseException:
        backup.partial.unlink()
        raise
    finally:
        os.close(descriptor)
    return backup


async def begin_backup(do: Do, file: str, proof: str, make_entry: MakeEntry) -> BackupProgress:
    """Let the writing process begin a backup into a file whose content is `proof`.

    Raises AlreadyRunning, UnexpectedShape or StorageUnavailable.
    """
    return await do(BeginBackup(make_entry(clock.now(), "backup", file.removesuffix(_PARTIAL), None), file, proof))


async def continue_backup(do: Do, run: str, *, cancel: bool = False) -> BackupProgress:
    """Return the progress of a backup, or cancel it. Raises NotFound, or the error that ended the backup."""
    return await do(CancelBackup(run) if cancel else ReadBackupProgress(run))


def finish_backup(backup: Backup, progress: BackupProgress, interrupted: Callable[[], bool]) -> CopyFacts:
    """Check the copy, compare its numbers of rows with those of the database, and give the file its name.

    Raises StorageUnavailable if it differs, and KeyboardInterrupt.
    """
    facts = read_copy(backup.partial, interrupted)
    differing = [name for name, rows in (progress.rows or {}).items() if facts.rows.get(name) != rows]
    if differing or progress.rows is None:
        raise StorageUnavailable(f"{backup.file}: the copy has other rows than the database ({', '.join(differing)}).")
    backup.partial.rename(backup.file)
    sync_file(backup.file.parent)
    return facts
