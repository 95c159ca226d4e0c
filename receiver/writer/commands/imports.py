"""The command that brings in a delivery."""

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from receiver import clock
from receiver.domain.imports import Imported
from receiver.domain.records import Submission, UnreadDelivery
from receiver.domain.rows import AuditRow
from receiver.errors import ReadingFailed, ReceiverError
from receiver.writer.commands.operators import AddAuditEntry
from receiver.writer.executor import CommandExecutor, TransactionCommand


@dataclass(frozen=True, slots=True)
class ImportDelivery(TransactionCommand[Imported]):
    """Store a delivery that is brought in and add an entry to the audit log, or with `dry_run` change nothing.

    A body that cannot be read is not stored: the operator has it. Raises InvalidJson or UnexpectedShape for it.
    """

    entry: AuditRow
    delivery: UnreadDelivery | Submission
    dry_run: bool

    def prepare(self, executor: CommandExecutor) -> "ImportDelivery":
        if isinstance(self.delivery, Submission):
            return self
        assert executor.read is not None
        submission = executor.read(self.delivery)
        if isinstance(submission.error, ReadingFailed):
            raise ReceiverError(f"This service failed to read the body ({submission.error.cause}). Nothing was imported.")
        if submission.error is not None:
            raise submission.error
        return replace(self, delivery=submission)

    def write(self, executor: CommandExecutor, connection: Connection) -> Imported:
        assert executor.imports is not None
        assert isinstance(self.delivery, Submission)
        imported = executor.imports.keep(connection, self.delivery, clock.now(), dry_run=self.dry_run)
        if not self.dry_run:
            AddAuditEntry(self.entry._replace(detail=imported.summary)).write(executor, connection)
        return imported
