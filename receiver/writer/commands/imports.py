"""The command that brings in a delivery."""

from dataclasses import dataclass, replace
from functools import partial

import structlog
from sqlalchemy import Connection

from receiver import clock
from receiver.domain.imports import Imported
from receiver.domain.records import Submission, UnreadDelivery
from receiver.domain.rows import AuditRow
from receiver.domain.undecidable import set_aside
from receiver.errors import ReadingFailed, ReceiverError, name_error
from receiver.writer.commands.operators import AddAuditEntry
from receiver.writer.executor import CommandExecutor, TransactionCommand

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ImportDelivery(TransactionCommand[Imported]):
    """Store a delivery that is brought in and add an entry to the audit log, or with `dry_run` change nothing.

    A body that cannot be read is not stored: the operator has it. Raises InvalidJson or UnexpectedShape for it. As of a webhook,
    the messages that something fails on go to quarantine, and the others go on.
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

    def execute(self, executor: CommandExecutor) -> Imported:
        """Store the delivery, if necessary with messages in quarantine."""
        command = self.prepare(executor)
        try:
            return executor.transact(command)
        except ReceiverError:
            raise
        except Exception as error:
            assert isinstance(command.delivery, Submission)
            _log.error("delivery_undecidable", delivery_id=command.delivery.delivery.id, error=name_error(error))
            aside = set_aside(command.delivery, lambda part: command.fails(executor, part))
            return executor.transact(replace(command, delivery=aside))

    def fails(self, executor: CommandExecutor, part: Submission) -> bool:
        """Tell whether a part of the delivery cannot be stored."""
        return executor.transactions.fails(partial(replace(self, delivery=part, dry_run=True).write, executor))

    def write(self, executor: CommandExecutor, connection: Connection) -> Imported:
        assert executor.imports is not None
        assert isinstance(self.delivery, Submission)
        imported = executor.imports.keep(connection, self.delivery, clock.now(), dry_run=self.dry_run)
        if not self.dry_run:
            AddAuditEntry(self.entry._replace(detail=imported.summary)).write(executor, connection)
        return imported
