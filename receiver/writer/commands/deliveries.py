"""Commands about stored deliveries and counts, and the chores of the writing process."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, delete, false, insert, select, update

from receiver.domain.records import Answer, Submission, UnreadDelivery
from receiver.domain.replays import Replayed, ReplayOptions
from receiver.domain.rows import DeliveryRow
from receiver.errors import ReceiverError
from receiver.storage.batches import correct_answer
from receiver.storage.counters import Counts, trim_counts, write_counts
from receiver.storage.outbox_statistics import analyze_outbox, has_outgrown_statistics
from receiver.storage.retention import is_without_content
from receiver.storage.sessions import trim_sessions
from receiver.storage.tables.ledger import NOT_ACCEPTED, BodyTable, DeliveryTable
from receiver.storage.tables.metadata import METADATA, table_of
from receiver.writer.executor import CommandExecutor, TransactionCommand, WriterCommand

MAX_REFUSED = 10_000
"""The maximum number of stored rejected and failed deliveries; the oldest ones beyond it are removed."""


@dataclass(frozen=True, slots=True)
class Replay(TransactionCommand[Replayed]):
    """Decide a stored delivery again; return the changes. Raises NotFound, UnexpectedShape or AlreadyRunning."""

    delivery: UnreadDelivery | Submission
    options: ReplayOptions

    def prepare(self, executor: CommandExecutor) -> "Replay":
        if isinstance(self.delivery, Submission):
            return self
        assert executor.read is not None
        return replace(self, delivery=executor.read(self.delivery))

    def write(self, executor: CommandExecutor, connection: Connection) -> Replayed:
        assert executor.replays is not None
        assert isinstance(self.delivery, Submission)
        return executor.replays.replay(connection, self.delivery, self.options)


@dataclass(frozen=True, slots=True)
class CorrectAnswer(TransactionCommand[tuple[DeliveryRow, DeliveryRow] | None]):
    """Store the answer that the sender received because the commit came too late; return the row before and after.

    None: the delivery is not stored.
    """

    delivery_id: str
    error: ReceiverError
    answer: Answer

    def execute(self, executor: CommandExecutor) -> tuple[DeliveryRow, DeliveryRow] | None:
        """Correct the row and, after the commit, the counts."""
        corrected = executor.transact(self)
        if corrected is not None:
            executor.counts.correct(*corrected)
        return corrected

    def write(self, executor: CommandExecutor, connection: Connection) -> tuple[DeliveryRow, DeliveryRow] | None:
        return correct_answer(connection, self.delivery_id, self.error, self.answer)


@dataclass(frozen=True, slots=True)
class CountUnrecorded(WriterCommand[None]):
    """Count deliveries without rows, by source, outcome and code, as received at `at` (microseconds).

    Like all counting it changes only memory, so it works while the database is unavailable.
    """

    deliveries: Mapping[tuple[str, str, str], int]
    at: int

    def execute(self, executor: CommandExecutor) -> None:
        executor.counts.add_unrecorded(self.deliveries, self.at)


@dataclass(frozen=True, slots=True)
class Tidy(TransactionCommand[None]):
    """Write counts, remove old and surplus rows, unblock changes without an earlier one, and keep the outbox fast."""

    counts: Counts
    now: int

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        write_counts(connection, executor.database.insert, self.counts)
        trim_counts(connection, self.now)
        trim_sessions(connection, self.now)
        TrimRefused().write(executor, connection)
        executor.orphans.unblock(connection, self.now)
        if executor.database.plans_by_statistics and has_outgrown_statistics(connection):
            analyze_outbox(connection)


@dataclass(frozen=True, slots=True)
class TrimRefused(TransactionCommand[int]):
    """Remove the oldest rejected and failed deliveries beyond MAX_REFUSED; return their number."""

    def write(self, executor: CommandExecutor, connection: Connection) -> int:
        deliveries, bodies = table_of(DeliveryTable), table_of(BodyTable)
        refused = and_(NOT_ACCEPTED, is_without_content())
        oldest_kept = select(deliveries.c.id).where(refused).order_by(deliveries.c.id.desc()).offset(MAX_REFUSED - 1).limit(1)
        first_id = connection.execute(oldest_kept).scalar()
        if first_id is None:
            return 0
        surplus = select(deliveries.c.id).where(refused, deliveries.c.id < first_id)
        connection.execute(delete(bodies).where(bodies.c.delivery_id.in_(surplus)))
        return int(connection.execute(delete(deliveries).where(and_(refused, deliveries.c.id < first_id))).rowcount)


@dataclass(frozen=True, slots=True)
class TryTables(TransactionCommand[None]):
    """Execute an INSERT, an UPDATE and a DELETE of no row on every table. Raises an error if the database refuses one."""

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        for table in METADATA.sorted_tables:
            names = table.columns.keys()
            connection.execute(insert(table).from_select(names, select(table).where(false())))
            connection.execute(update(table).where(false()).values({names[0]: table.c[names[0]]}))
            connection.execute(delete(table).where(false()))


@dataclass(frozen=True, slots=True)
class Checkpoint(WriterCommand[bool]):
    """Copy SQLite's WAL into the database file and empty it; return whether that worked. A reader may prevent it."""

    wait_ms: int = 0

    def execute(self, executor: CommandExecutor) -> bool:
        """Run a checkpoint, which no transaction may enclose."""
        return executor.transactions.checkpoint(self.wait_ms)
