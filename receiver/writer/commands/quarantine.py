"""Commands about the quarantine."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from receiver.storage.quarantine import dismiss_items, reopen_items
from receiver.writer.executor import CommandExecutor, TransactionCommand


@dataclass(frozen=True, slots=True)
class DismissItems(TransactionCommand[int]):
    """Dismiss quarantined items; return the number of those that were open."""

    ids: Sequence[str]
    actor: str
    note: str | None
    now: int

    def write(self, executor: CommandExecutor, connection: Connection) -> int:
        return dismiss_items(executor.database, connection, self.ids, self.actor, self.note, self.now)


@dataclass(frozen=True, slots=True)
class ReopenItems(TransactionCommand[int]):
    """Open dismissed items again; return the number of those that are open now."""

    ids: Sequence[str]

    def write(self, executor: CommandExecutor, connection: Connection) -> int:
        return reopen_items(executor.database, connection, self.ids)
