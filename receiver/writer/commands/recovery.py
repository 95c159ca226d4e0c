"""Commands about reconciliations and lookups."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, update

from receiver.domain.reconciliation import MAX_RECONCILIATIONS
from receiver.domain.rows import ReconciliationRow
from receiver.domain.storable import make_storable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.recovery import LookupTable, ReconciliationTable
from receiver.writer.executor import CommandExecutor, TransactionCommand


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
class TakeLookup(TransactionCommand[bool]):
    """Note that a tracker is being looked up; return whether this process may do that.

    It may not if the tracker was looked up after `before`, or if there were `most` lookups after `hour_began_at`: other
    receivers on this database look up trackers too.
    """

    source: str
    tracker_id: str
    now: int
    before: int
    hour_began_at: int
    most: int

    def write(self, executor: CommandExecutor, connection: Connection) -> bool:
        table = table_of(LookupTable)
        executor.database.lock_table(connection, table)
        last_hour = select(func.count()).select_from(table).where(table.c.looked_up_at > self.hour_began_at)
        if connection.execute(last_hour).scalar_one() >= self.most:
            return False
        found = {"looked_up_at": self.now, "is_tracked": True}
        statement = executor.database.insert(table).values(source=self.source, tracker_id=self.tracker_id, **found)
        keys, is_due = list(table.primary_key.columns), table.c.looked_up_at < self.before
        statement = statement.on_conflict_do_update(index_elements=keys, set_=found, where=is_due)
        return connection.execute(statement.returning(table.c.tracker_id)).first() is not None


@dataclass(frozen=True, slots=True)
class EndTracking(TransactionCommand[None]):
    """Note that the vendor no longer tracks a tracker that was looked up."""

    source: str
    tracker_id: str

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        table = table_of(LookupTable)
        ours = table.c.source == self.source, table.c.tracker_id == self.tracker_id
        connection.execute(update(table).where(*ours).values(is_tracked=False))
