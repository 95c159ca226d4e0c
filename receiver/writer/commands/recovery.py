"""Commands about reconciliations and lookups."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from receiver.domain.rows import ReconciliationRow
from receiver.domain.storable import make_storable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.recovery import LookupTable, ReconciliationTable
from receiver.writer.executor import CommandExecutor, TransactionCommand

MAX_RECONCILIATIONS = 200
"""The maximum number of stored reconciliations; the oldest ones beyond it are removed."""


@dataclass(frozen=True, slots=True)
class SaveReconciliation(TransactionCommand[None]):
    """Store how far a reconciliation came, and remove the oldest ones beyond MAX_RECONCILIATIONS."""

    row: ReconciliationRow

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        table = table_of(ReconciliationTable)
        values = self.row._asdict() | {"actor": make_storable(self.row.actor), "problem": make_storable(self.row.problem)}
        statement = executor.database.insert(table).values(values)
        connection.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=values))
        oldest_kept = select(table.c.began_at).order_by(table.c.began_at.desc()).offset(MAX_RECONCILIATIONS - 1).limit(1)
        began_at = connection.execute(oldest_kept).scalar()
        if began_at is not None:
            connection.execute(delete(table).where(table.c.began_at < began_at))


@dataclass(frozen=True, slots=True)
class NoteLookup(TransactionCommand[None]):
    """Note that a tracker was looked up at its vendor, whatever came of it."""

    source: str
    tracker_id: str
    looked_up_at: int
    is_tracked: bool

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        table = table_of(LookupTable)
        found = {"looked_up_at": self.looked_up_at, "is_tracked": self.is_tracked}
        statement = executor.database.insert(table).values(source=self.source, tracker_id=self.tracker_id, **found)
        connection.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=found))
