"""Commands of operators: audit log, sessions, tokens, setup windows, customers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, delete, insert, select

from receiver import clock
from receiver.domain.customer_changes import CustomerRows, CustomerUpload, ListDifference
from receiver.domain.rows import AuditRow, SessionRow
from receiver.domain.storable import make_storable
from receiver.errors import UnexpectedShape
from receiver.storage.customers import compare_with_served, read_earlier_list, replace_customer_list
from receiver.storage.sessions import begin_session, end_session
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import MAX_WINDOW_MICROS, AuditTable, SetupWindowTable, TokenUseTable
from receiver.writer.executor import CommandExecutor, R, TransactionCommand

WRONG_TOKEN = "wrong ops token"  # noqa: S105  the action of an audit entry
MAX_WRONG_TOKENS = 1000
"""The maximum number of audit entries that strangers can cause; the oldest ones beyond it are removed."""


@dataclass(frozen=True, slots=True)
class AddAuditEntry(TransactionCommand[None]):
    """Add an entry to the audit log."""

    entry: AuditRow

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        connection.execute(insert(table_of(AuditTable)).values(_make_storable(self.entry)._asdict()))


@dataclass(frozen=True, slots=True)
class Audited(TransactionCommand[R]):
    """Execute a command and add an entry to the audit log, in one transaction; return the result of the command."""

    entry: AuditRow
    command: TransactionCommand[R]

    def prepare(self, executor: CommandExecutor) -> TransactionCommand[R]:
        return replace(self, command=self.command.prepare(executor))

    def write(self, executor: CommandExecutor, connection: Connection) -> R:
        result = self.command.write(executor, connection)
        AddAuditEntry(self.entry).write(executor, connection)
        return result


@dataclass(frozen=True, slots=True)
class NoteWrongToken(TransactionCommand[None]):
    """Add a wrong ops token to the audit log; remove the oldest such entries beyond MAX_WRONG_TOKENS."""

    entry: AuditRow

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        """Insert the entry, unless an earlier attempt did, and delete the oldest ones."""
        table = table_of(AuditTable)
        insertion = executor.database.insert(table).values(_make_storable(self.entry)._asdict())
        connection.execute(insertion.on_conflict_do_nothing())
        oldest_kept = select(table.c.id).where(table.c.action == WRONG_TOKEN).order_by(table.c.id.desc())
        first_id = connection.execute(oldest_kept.offset(MAX_WRONG_TOKENS - 1).limit(1)).scalar()
        if first_id is not None:
            connection.execute(delete(table).where(and_(table.c.action == WRONG_TOKEN, table.c.id < first_id)))


@dataclass(frozen=True, slots=True)
class NoteTokenUses(TransactionCommand[None]):
    """Set the last use of tokens: time in microseconds by source and name. An earlier time never replaces a later one."""

    uses: Mapping[tuple[str, str], int]

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        """Insert or update one row per token, in sorted order, so that no two processes wait for each other."""
        table = table_of(TokenUseTable)
        for (source, token), last_used_at in sorted(self.uses.items()):
            statement = executor.database.insert(table).values(source=source, token=token, last_used_at=last_used_at)
            statement = statement.on_conflict_do_update(
                index_elements=list(table.primary_key.columns),
                set_={"last_used_at": last_used_at},
                where=table.c.last_used_at < last_used_at,
            )
            connection.execute(statement)


@dataclass(frozen=True, slots=True)
class BeginSession(TransactionCommand[None]):
    """Begin a session of the console, which counts as a use of its ops token."""

    session: SessionRow

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        begin_session(connection, self.session)
        NoteTokenUses({("ops", self.session.actor): self.session.began_at}).write(executor, connection)


@dataclass(frozen=True, slots=True)
class EndSession(TransactionCommand[None]):
    """End a session of the console, on all receivers."""

    digest: str

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        end_session(connection, self.digest)


@dataclass(frozen=True, slots=True)
class OpenWindow(TransactionCommand[None]):
    """Accept a source from any address from now until `closes_at`; a time in the past closes the window now.

    Raises UnexpectedShape for more than 24 hours.
    """

    source: str
    closes_at: int

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        """Insert or update the window. It opens by the clock of this process, not of the one that sent the command."""
        opened_at = clock.to_micros(clock.now())
        if self.closes_at > opened_at + MAX_WINDOW_MICROS:
            raise UnexpectedShape("A setup window is open for at most 24 hours. Nothing was changed.")
        table = table_of(SetupWindowTable)
        times = {"opened_at": opened_at, "closes_at": self.closes_at}
        statement = executor.database.insert(table).values(source=self.source, **times)
        keys = list(table.primary_key.columns)
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=times))


@dataclass(frozen=True, slots=True)
class ReplaceCustomers(TransactionCommand[int]):
    """Serve this list of customers from now on; return their number."""

    list_id: str
    imported_at: int
    rows: CustomerRows

    def write(self, executor: CommandExecutor, connection: Connection) -> int:
        return replace_customer_list(connection, executor.database, self.list_id, self.imported_at, self.rows).customers


@dataclass(frozen=True, slots=True)
class ImportCustomers(TransactionCommand[ListDifference]):
    """Serve a list of customers and add an entry to the audit log; return the difference to the list before it.

    `upload` may be a function that reads the list in its turn.
    """

    entry: AuditRow
    list_id: str
    imported_at: int
    upload: CustomerUpload | Callable[[], CustomerUpload]

    def prepare(self, executor: CommandExecutor) -> "ImportCustomers":
        return replace(self, upload=self.upload()) if callable(self.upload) else self

    def write(self, executor: CommandExecutor, connection: Connection) -> ListDifference:
        """Compare, then replace. The lock of the tables keeps another import from coming between."""
        assert isinstance(self.upload, CustomerUpload)
        difference = compare_with_served(connection, executor.database, self.list_id, self.upload.rows)
        if not self.upload.dry_run:
            ReplaceCustomers(self.list_id, self.imported_at, self.upload.rows).write(executor, connection)
            detail = f"{difference.customers} customers: {difference.summary()}"
            AddAuditEntry(self.entry._replace(detail=detail)).write(executor, connection)
        return difference


@dataclass(frozen=True, slots=True)
class RestoreCustomers(TransactionCommand[ListDifference]):
    """Serve an earlier list again, as a new import; return the difference to the served one.

    `earlier` None: the list before the served one.
    """

    entry: AuditRow
    list_id: str
    imported_at: int
    earlier: str | None
    dry_run: bool

    def write(self, executor: CommandExecutor, connection: Connection) -> ListDifference:
        rows = read_earlier_list(connection, executor.database, self.list_id, self.earlier)
        upload = CustomerUpload(rows, self.dry_run)
        return ImportCustomers(self.entry, self.list_id, self.imported_at, upload).write(executor, connection)


def _make_storable(entry: AuditRow) -> AuditRow:
    """Return an entry that can be stored: its texts come from outside."""
    return entry._replace(
        actor=make_storable(entry.actor),
        address=make_storable(entry.address),
        action=make_storable(entry.action),
        subject=make_storable(entry.subject),
        detail=make_storable(entry.detail),
    )
