"""Commands about the backup that the writing process takes."""

from dataclasses import dataclass

from receiver.domain.backups import BackupProgress
from receiver.domain.rows import AuditRow
from receiver.writer.commands.operators import AddAuditEntry
from receiver.writer.executor import CommandExecutor, WriterCommand


@dataclass(frozen=True, slots=True)
class BeginBackup(WriterCommand[BackupProgress]):
    """Begin a backup and add an entry to the audit log, which the copy has too.

    Raises AlreadyRunning, UnexpectedShape or StorageUnavailable.
    """

    entry: AuditRow
    file: str
    proof: str

    def execute(self, executor: CommandExecutor) -> BackupProgress:
        """Begin it outside of transactions."""
        progress = executor.backups.begin(self.file, self.proof)
        executor.do(AddAuditEntry(self.entry))
        return progress


@dataclass(frozen=True, slots=True)
class ReadBackupProgress(WriterCommand[BackupProgress]):
    """Return the progress of a backup. Raises NotFound, or the error that ended the backup."""

    run: str

    def execute(self, executor: CommandExecutor) -> BackupProgress:
        return executor.backups.read_progress(self.run)


@dataclass(frozen=True, slots=True)
class CancelBackup(WriterCommand[BackupProgress]):
    """Stop a backup; return how far it came. Raises NotFound."""

    run: str

    def execute(self, executor: CommandExecutor) -> BackupProgress:
        progress = executor.backups.read_progress(self.run)
        executor.backups.cancel(self.run)
        return progress
