"""Small writes beside the deliveries: token use, setup windows, counts, and the bounds of what is kept."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, false, insert, select, update

from receiver import clock
from receiver.domain.erasure import Erasure, StoredBody
from receiver.domain.records import Answer
from receiver.domain.rows import AuditRow, DeliveryRow, SessionRow
from receiver.domain.storable import MAX_KEY_CHARACTERS, make_storable
from receiver.errors import ReceiverError, UnexpectedShape
from receiver.storage.blocking import OrphanSearch
from receiver.storage.counters import Counts, trim_tallies, write_tallies
from receiver.storage.customers import replace_list
from receiver.storage.database import Database
from receiver.storage.dropping import drop_target
from receiver.storage.erasure import erase, forget_tracker
from receiver.storage.outbox import Outbox
from receiver.storage.processes import note_processes, remove_process
from receiver.storage.replay import ReplayDecider
from receiver.storage.retention import Retention
from receiver.storage.sessions import begin_session, end_session, trim_sessions
from receiver.storage.suspects import has_suspects, release
from receiver.storage.tables.ledger import NOT_ACCEPTED, BodyTable, DeliveryTable, is_without_content, table_of
from receiver.storage.tables.metadata import METADATA
from receiver.storage.tables.operations import MAX_WINDOW_MICROS, AlarmTable, AuditTable, SetupWindowTable, TokenUseTable

MAX_REFUSED = 10_000
"""Refused and failed calls kept one by one; older ones go."""

GUESS = "wrong ops token"
MAX_GUESSES = 1000
"""Entries of the audit that strangers can cause: the newest are kept."""


class WriterCommands:
    """Writes for the writer's transactions. Only with `replays` can calls be decided again."""

    def __init__(self, database: Database, replays: ReplayDecider | None = None) -> None:
        if replays is not None:
            self.replay = replays.replay
        self._database = database
        self._insert = database.insert
        self._orphans = OrphanSearch()
        outbox = Outbox(database)
        self.exchange_changes, self.settle_changes = outbox.exchange, outbox.settle
        self.release_changes, self.has_suspects = release, has_suspects
        self.stop_target, self.resume_target, self.retry_dead = outbox.stop, outbox.resume, outbox.retry_dead
        self.drop_target = drop_target
        self.note_processes, self.remove_process = partial(note_processes, database), remove_process
        self.forget_tracker = forget_tracker
        self.end_session = end_session
        retention = Retention(database)
        self.claim_pruning, self.prune, self.release_pruning = retention.claim_pruning, retention.prune, retention.release_pruning
        self.renew_pruning = retention.renew_pruning

    def note_token_uses(self, connection: Connection, uses: Mapping[tuple[str, str], int]) -> None:
        """Set when each named token of a source was last used; never back."""
        table = table_of(TokenUseTable)
        for (source, token), last_used_at in sorted(uses.items()):
            statement = self._insert(table).values(source=source, token=token, last_used_at=last_used_at)
            statement = statement.on_conflict_do_update(
                index_elements=list(table.primary_key.columns),
                set_={"last_used_at": last_used_at},
                where=table.c.last_used_at < last_used_at,
            )
            connection.execute(statement)

    def tidy(self, connection: Connection, counts: Counts, now: int) -> None:
        """Write down what was counted, remove what has been kept for long enough, and look for changes that wait for nothing."""
        write_tallies(connection, self._insert, counts)
        trim_tallies(connection, now)
        trim_sessions(connection, now)
        self.trim_refused(connection)
        self._orphans.unblock(connection, now)

    def try_tables(self, connection: Connection) -> None:
        """Do to every table what deliveries and operators do, with no row: whatever the database then refuses, it raises."""
        for table in METADATA.sorted_tables:
            names = table.columns.keys()
            connection.execute(insert(table).from_select(names, select(table).where(false())))
            connection.execute(update(table).where(false()).values({names[0]: table.c[names[0]]}))
            connection.execute(delete(table).where(false()))

    def audited(self, connection: Connection, entry: AuditRow, name: str, arguments: Sequence[Any]) -> Any:
        """Call another method of this class and put on record, in the same transaction, who had it done; return its result."""
        result = getattr(self, name)(connection, *arguments)
        self.note(connection, entry)
        return result

    def note(self, connection: Connection, entry: AuditRow) -> None:
        """Put on record what an operator did."""
        connection.execute(insert(table_of(AuditTable)).values(_clean(entry)._asdict()))

    def begin_session(self, connection: Connection, row: SessionRow) -> None:
        """Begin a session of the console; that is a use of its ops token."""
        begin_session(connection, row)
        self.note_token_uses(connection, {("ops", row.actor): row.began_at})

    def note_wrong_token(self, connection: Connection, entry: AuditRow) -> None:
        """Put wrong ops tokens on record; the oldest such entries beyond MAX_GUESSES go."""
        table = table_of(AuditTable)
        connection.execute(self._insert(table).values(_clean(entry)._asdict()).on_conflict_do_nothing())  # it may be told twice
        oldest_kept = select(table.c.id).where(table.c.action == GUESS).order_by(table.c.id.desc())
        edge = connection.execute(oldest_kept.offset(MAX_GUESSES - 1).limit(1)).scalar()
        if edge is not None:
            self._delete(connection, table, and_(table.c.action == GUESS, table.c.id < edge))

    def open_window(self, connection: Connection, source: str, closes_at: int) -> None:
        """Let a source call from any address from now until `closes_at`; one in the past closes the window now.

        Raises UnexpectedShape for more than 24 hours. When it was opened is ours to say, not the caller's.
        """
        opened_at = clock.to_micros(clock.now())
        if closes_at > opened_at + MAX_WINDOW_MICROS:
            raise UnexpectedShape("A setup window is open for at most 24 hours. Nothing was changed.")
        table = table_of(SetupWindowTable)
        statement = self._insert(table).values(source=source, opened_at=opened_at, closes_at=closes_at)
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={"opened_at": opened_at, "closes_at": closes_at},
        )
        connection.execute(statement)

    def replace_customers(self, connection: Connection, list_id: str, imported_at: int, rows: Sequence[tuple[str, str]]) -> int:
        """Serve this list of (customer code, document) from now on; return how many customers it has."""
        return replace_list(connection, self._database, list_id, imported_at, rows).customers

    def import_customers(
        self, connection: Connection, entry: AuditRow, list_id: str, imported_at: int, rows: Sequence[tuple[str, str]]
    ) -> int:
        """Do the same, and put on record who had it done and how many customers there are."""
        served = self.replace_customers(connection, list_id, imported_at, rows)
        self.note(connection, entry._replace(detail=f"{served} customers"))
        return served

    def erase(self, connection: Connection, call: StoredBody, erasure: Erasure) -> bool:
        """Erase from a delivery what was planned; return False if it was changed since it was read."""
        return erase(connection, self._database, call, erasure)

    def begin_alarm(self, connection: Connection, name: str, subject: str, began_at: int, message: str) -> bool:
        """Switch an alarm on, with a notice to be sent; return whether it was off.

        The race: several processes see the same thing at once. The row of the alarm is the claim, and one of them makes it.
        """
        table = table_of(AlarmTable)
        subject = make_storable(subject, MAX_KEY_CHARACTERS)
        begun = {"began_at": began_at, "ended_at": None, "message": make_storable(message), "notice_due_at": began_at}
        statement = self._insert(table).values(name=name, subject=subject, **begun)
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns), set_=begun, where=table.c.ended_at.is_not(None)
        )
        return connection.execute(statement.returning(table.c.name)).first() is not None

    def end_alarm(self, connection: Connection, name: str, subject: str, ended_at: int) -> bool:
        """Switch an alarm off, with a notice to be sent; return whether it was on."""
        table = table_of(AlarmTable)
        is_on = and_(
            table.c.name == name, table.c.subject == make_storable(subject, MAX_KEY_CHARACTERS), table.c.ended_at.is_(None)
        )
        return int(connection.execute(update(table).where(is_on).values(ended_at=ended_at, notice_due_at=ended_at)).rowcount) == 1

    def take_notice(self, connection: Connection, name: str, subject: str, due_at: int, now: int | None) -> bool:
        """Make the notice of an alarm that waits since `due_at` ours to send from `now` on; None: it is settled.

        Return whether it was still waiting. The race: two processes find it. The time is the claim, and one of them changes it.
        """
        table = table_of(AlarmTable)
        stored = make_storable(subject, MAX_KEY_CHARACTERS)
        waits = and_(table.c.name == name, table.c.subject == stored, table.c.notice_due_at == due_at)
        return int(connection.execute(update(table).where(waits).values(notice_due_at=now)).rowcount) == 1

    def correct_answer(
        self, connection: Connection, delivery_id: str, error: ReceiverError, answer: Answer
    ) -> tuple[DeliveryRow, DeliveryRow] | None:
        """Put on record what the sender really got, where a commit came too late; return its row as it was and is."""
        deliveries, bodies = table_of(DeliveryTable), table_of(BodyTable)
        kept = connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).first()
        if kept is None:
            return None
        before = DeliveryRow(*kept)
        told = {"status": error.status, "outcome": error.outcome, "code": error.code, "reason": make_storable(error.message)}
        connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(told))
        connection.execute(update(bodies).where(bodies.c.delivery_id == delivery_id).values(answer=answer.body))
        return before, DeliveryRow(**{**before._asdict(), **told})

    def trim_refused(self, connection: Connection) -> int:
        """Remove the oldest refused and failed calls beyond MAX_REFUSED; return how many went."""
        deliveries = table_of(DeliveryTable)
        refused = and_(NOT_ACCEPTED, is_without_content())
        oldest_kept = select(deliveries.c.id).where(refused).order_by(deliveries.c.id.desc()).offset(MAX_REFUSED - 1).limit(1)
        edge = connection.execute(oldest_kept).scalar()
        if edge is None:
            return 0
        gone = select(deliveries.c.id).where(refused, deliveries.c.id < edge)
        self._delete(connection, table_of(BodyTable), table_of(BodyTable).c.delivery_id.in_(gone))
        return self._delete(connection, deliveries, and_(refused, deliveries.c.id < edge))

    def _delete(self, connection: Connection, table: Table, condition: ColumnElement[bool]) -> int:
        return int(connection.execute(delete(table).where(condition)).rowcount)


def _clean(entry: AuditRow) -> AuditRow:
    """Return an entry as it can be stored: names, addresses and words in it come from outside."""
    return entry._replace(
        actor=make_storable(entry.actor),
        address=make_storable(entry.address),
        action=make_storable(entry.action),
        subject=make_storable(entry.subject),
        detail=make_storable(entry.detail),
    )
