"""Commands about reconciliations."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from receiver.domain.rows import ReconciliationRow
from receiver.domain.storable import make_storable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.recovery import ReconciliationTable
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
