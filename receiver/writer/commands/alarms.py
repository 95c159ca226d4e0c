"""Commands of the alarm monitor."""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, update

from receiver.domain.storable import MAX_KEY_CHARACTERS, make_storable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import AlarmTable
from receiver.writer.executor import CommandExecutor, TransactionCommand


@dataclass(frozen=True, slots=True)
class BeginAlarm(TransactionCommand[bool]):
    """Switch an alarm on, with a notice to send; return whether it was off.

    The race: several processes find the same alarm at once. The row of the alarm is the claim: only one of them writes it.
    """

    name: str
    subject: str
    began_at: int
    message: str

    def write(self, executor: CommandExecutor, connection: Connection) -> bool:
        table = table_of(AlarmTable)
        subject, message = make_storable(self.subject, MAX_KEY_CHARACTERS), make_storable(self.message)
        begun = {"began_at": self.began_at, "ended_at": None, "message": message, "notice_due_at": self.began_at}
        statement = executor.database.insert(table).values(name=self.name, subject=subject, **begun)
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns), set_=begun, where=table.c.ended_at.is_not(None)
        )
        return connection.execute(statement.returning(table.c.name)).first() is not None


@dataclass(frozen=True, slots=True)
class UpdateAlarm(TransactionCommand[bool]):
    """Give an alarm that is on its text of now; return whether it is on. Nothing is sent for it."""

    name: str
    subject: str
    message: str

    def write(self, executor: CommandExecutor, connection: Connection) -> bool:
        table = table_of(AlarmTable)
        subject = make_storable(self.subject, MAX_KEY_CHARACTERS)
        is_on = and_(table.c.name == self.name, table.c.subject == subject, table.c.ended_at.is_(None))
        return int(connection.execute(update(table).where(is_on).values(message=make_storable(self.message))).rowcount) == 1


@dataclass(frozen=True, slots=True)
class EndAlarm(TransactionCommand[bool]):
    """Switch an alarm off, with a notice to send; return whether it was on."""

    name: str
    subject: str
    ended_at: int

    def write(self, executor: CommandExecutor, connection: Connection) -> bool:
        table = table_of(AlarmTable)
        subject = make_storable(self.subject, MAX_KEY_CHARACTERS)
        is_on = and_(table.c.name == self.name, table.c.subject == subject, table.c.ended_at.is_(None))
        ended = {"ended_at": self.ended_at, "notice_due_at": self.ended_at}
        return int(connection.execute(update(table).where(is_on).values(ended)).rowcount) == 1


@dataclass(frozen=True, slots=True)
class TakeNotice(TransactionCommand[bool]):
    """Claim the notice of an alarm that became due at `due_at`; return whether it was still due then.

    Its due time becomes `now`; None: the notice needs no more attempts. The race: two processes find the notice. The due time is
    the claim: only one of them changes it.
    """

    name: str
    subject: str
    due_at: int
    now: int | None

    def write(self, executor: CommandExecutor, connection: Connection) -> bool:
        table = table_of(AlarmTable)
        subject = make_storable(self.subject, MAX_KEY_CHARACTERS)
        waits = and_(table.c.name == self.name, table.c.subject == subject, table.c.notice_due_at == self.due_at)
        return int(connection.execute(update(table).where(waits).values(notice_due_at=self.now)).rowcount) == 1
