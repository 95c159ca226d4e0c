"""The command that records which tokens a service has."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, select, update

from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import KnownTokenTable
from receiver.writer.executor import CommandExecutor, TransactionCommand

MAX_REMOVED = 50
"""The number of removed tokens that are remembered, of all sources together; the last ones."""


@dataclass(frozen=True, slots=True)
class RecordTokens(TransactionCommand[None]):
    """Record the tokens of a service that starts: source, name and fingerprint of each. All others count as removed.

    Where several receivers are restarted one after the other, one with the old settings may mark a new token as removed, and the
    other way round. The last one that starts decides; by then all have the same settings.
    """

    tokens: Sequence[tuple[str, str, str]]
    now: int

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        """Write one row for each token, in one order, so that no two processes wait for each other."""
        table = table_of(KnownTokenTable)
        names = {(source, fingerprint): name for source, name, fingerprint in self.tokens}
        present = select(table.c.source, table.c.fingerprint).where(table.c.removed_at.is_(None))
        stored = {(row.source, row.fingerprint) for row in connection.execute(present)}
        for source, fingerprint in sorted(names.keys() | stored):
            name = names.get((source, fingerprint))
            if name is None:
                row = and_(table.c.source == source, table.c.fingerprint == fingerprint)
                connection.execute(update(table).where(row, table.c.removed_at.is_(None)).values(removed_at=self.now))
            else:
                values = {"source": source, "fingerprint": fingerprint, "token": name, "first_seen_at": self.now}
                statement = executor.database.insert(table).values(**values)
                keys = list(table.primary_key.columns)
                changed = {"token": name, "removed_at": None}
                connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
        removed = select(table.c.removed_at).where(table.c.removed_at.is_not(None)).order_by(table.c.removed_at.desc())
        edge = connection.execute(removed.offset(MAX_REMOVED - 1).limit(1)).scalar()
        if edge is not None:
            connection.execute(delete(table).where(table.c.removed_at < edge))
