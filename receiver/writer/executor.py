"""The executor of commands: it runs each in a transaction, on the one connection that writes."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from sqlalchemy import Connection

from receiver.domain.records import Submission, UnreadDelivery
from receiver.errors import ReceiverError, UnexpectedShape, name_error
from receiver.storage.blocking import OrphanSearch
from receiver.storage.counters import HourlyCounts
from receiver.storage.database import Database
from receiver.storage.faults import Fault, find_fault
from receiver.storage.imports import ImportKeeper
from receiver.storage.outbox import Outbox
from receiver.storage.replay import ReplayDecider
from receiver.storage.retention import Retention
from receiver.storage.transactions import Transactions
from receiver.writer.backups import Backups

R = TypeVar("R")
"""The result of a command."""

ReadBody = Callable[[UnreadDelivery], Submission]


class WriterCommand(Generic[R]):
    """A command to the writing process. R is the type of its result."""

    __slots__ = ()

    def execute(self, executor: "CommandExecutor") -> R:
        """Execute the command and return its result. Raises ReceiverError."""
        raise NotImplementedError


class TransactionCommand(WriterCommand[R]):
    """A command that is one transaction."""

    __slots__ = ()

    def execute(self, executor: "CommandExecutor") -> R:
        """Run `write` in a transaction and commit it."""
        return executor.transact(self)

    def prepare(self, executor: "CommandExecutor") -> "TransactionCommand[R]":
        """Return the command with its body parsed, so that the transaction need not wait for that."""
        return self

    def write(self, executor: "CommandExecutor", connection: Connection) -> R:
        """Execute the command inside a transaction of the caller."""
        raise NotImplementedError


class Do(Protocol):
    """A function that executes a command, here or in another process: it returns the result or raises the error."""

    def __call__(self, command: WriterCommand[R]) -> Awaitable[R]:
        """Execute the command."""


class CommandExecutor:
    """Executes commands on one connection, for one thread.

    `read` parses unread bodies, `replays` decides deliveries again, `imports` stores those that are brought in; without them
    Replay and ImportDelivery cannot be executed. `counts` are those of this process.
    """

    def __init__(
        self,
        database: Database,
        transactions: Transactions,
        read: ReadBody | None = None,
        replays: ReplayDecider | None = None,
        imports: ImportKeeper | None = None,
    ) -> None:
        self.database = database
        self.transactions = transactions
        self.read = read
        self.replays = replays
        self.imports = imports
        self.outbox = Outbox(database)
        self.retention = Retention(database)
        self.orphans = OrphanSearch()
        self.counts = HourlyCounts()
        self.backups = Backups(database, transactions)

    def do(self, command: WriterCommand[R]) -> R:
        """Execute a command. Raises its ReceiverError, or StorageUnavailable if the database is at fault."""
        return command.execute(self)

    def transact(self, command: TransactionCommand[R]) -> R:
        """Run a command in a transaction and commit it."""
        return self.transactions.run(partial(command.prepare(self).write, self))


def name_failure(error: Exception) -> ReceiverError:
    """Return the error for a command that failed with an error of the database about content, or of our own code."""
    if find_fault(error) is Fault.CONTENT:
        return UnexpectedShape(f"The database does not take this ({name_error(error)}). Nothing was changed.")
    return ReceiverError(f"This service failed to do it ({name_error(error)}). Nothing was changed.")
