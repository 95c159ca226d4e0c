"""The command that records POSTs to unknown paths."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import UnknownPathTable
from receiver.writer.executor import CommandExecutor, TransactionCommand

MAX_UNKNOWN_PATHS = 50
"""The number of paths that are kept: those with the most requests, and of equal ones the last."""


class PathUse(NamedTuple):
    """POSTs to one unknown path: the right path that it resembles, their number, and the last time in microseconds.

    All paths that resemble none are one without a name.
    """

    path: str
    nearest: str
    requests: int
    last_at: int


@dataclass(frozen=True, slots=True)
class NoteUnknownPaths(TransactionCommand[None]):
    """Add POSTs to unknown paths; remove the paths beyond MAX_UNKNOWN_PATHS."""

    uses: Sequence[PathUse]

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        """Insert or update one row for each path, in one order, so that no two processes wait for each other."""
        table = table_of(UnknownPathTable)
        for use in sorted(self.uses):
            statement = executor.database.insert(table).values(**use._asdict(), first_at=use.last_at)
            changed = {"nearest": use.nearest, "requests": table.c.requests + use.requests, "last_at": use.last_at}
            keys = list(table.primary_key.columns)
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
        ranked = select(table.c.path).order_by(table.c.requests.desc(), table.c.last_at.desc(), table.c.path)
        surplus = list(connection.execute(ranked.offset(MAX_UNKNOWN_PATHS)).scalars())
        if surplus:
            connection.execute(delete(table).where(table.c.path.in_(surplus)))
