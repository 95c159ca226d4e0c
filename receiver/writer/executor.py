"""The executor of commands: it runs each in a transaction, on the one connection that writes."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from sqlalchemy import Connection

from receiver.domain.records import Submission, UnreadDelivery
from receiver.storage.blocking import OrphanSearch
from receiver.storage.counters import HourlyCounts
from receiver.storage.database import Database
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

    `read` parses unread bodies, `replays` decides deliveries again; without them Replay cannot be executed. `counts` are those of
    this process.
    """

    def __init__(
        self,
        database: Database,
        transactions: Transactions,
        read: ReadBody | None = None,
        replays: ReplayDecider | None = None,
    ) -> None:
        self.database = database
        self.transactions = transactions
        self.read = read
        self.replays = replays
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
