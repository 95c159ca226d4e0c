"""What is known of the service itself: token uses, setup windows, alarms, what operators changed."""

from typing import Any

from sqlalchemy import RowMapping, select

from receiver import clock
from receiver.clock import first_id
from receiver.errors import ReadingFailed
from receiver.storage.database import Database
from receiver.storage.queries.pages import ResultPage, public, read_newest
from receiver.storage.tables.ledger import NOT_ACCEPTED, DeliveryTable, QuarantineTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import MAX_WINDOW_MICROS, AlarmTable, AuditTable, SetupWindowTable, TokenUseTable

MAX_UNDECIDABLE = 1000
"""Of what our own code failed on, so many are counted."""

_SKEW_MICROS = 60_000_000  # by which the clocks of two receivers may differ


def setup_windows(database: Database) -> dict[str, int]:
    """Return until when each source's setup window is open, in microseconds; closed ones stay listed.

    A row counts for at most 24 hours after its opening, and not before it, whoever wrote it.
    """
    table = table_of(SetupWindowTable)
    opened = select(table).where(table.c.opened_at <= clock.to_micros(clock.now()) + _SKEW_MICROS)
    with database.read() as connection:
        return {row.source: min(row.closes_at, row.opened_at + MAX_WINDOW_MICROS) for row in connection.execute(opened)}


def token_uses(database: Database) -> dict[tuple[str, str], int]:
    """Return when each token, by source and name, last let a call in, in microseconds, to the minute."""
    table = table_of(TokenUseTable)
    with database.read() as connection:
        return {(row.source, row.token): row.last_used_at for row in connection.execute(select(table))}


def find_undecidable(database: Database, since: int = 0) -> dict[str, list[int]]:
    """Return when that of each source arrived on which our own code failed and that nobody has replayed, in microseconds.

    These are messages, and deliveries that were not read; the oldest MAX_UNDECIDABLE of either kind since a moment.
    """
    apart, unread = table_of(QuarantineTable).c, table_of(DeliveryTable).c
    kinds = (
        select(apart.source, apart.received_at)
        .where(apart.reason == "undecidable", apart.id >= first_id(since))
        .order_by(apart.id),
        select(unread.source, unread.received_at)
        .where(NOT_ACCEPTED, unread.id >= first_id(since), unread.outcome == "failed")
        .where(unread.status == ReadingFailed.status, unread.received == 0)
        .order_by(unread.id),
    )
    found: dict[str, list[int]] = {}
    with database.read() as connection:
        for kind in kinds:
            for source, at in connection.execute(kind.limit(MAX_UNDECIDABLE)):
                found.setdefault(source, []).append(at)
    return found


def list_alarms(database: Database, *, only_on: bool = False) -> list[dict[str, Any]]:
    """Return what is watched and was ever wrong, what began last first; `ended_at` is None for what still is."""
    table = table_of(AlarmTable)
    statement = select(table).order_by(table.c.began_at.desc(), table.c.name, table.c.subject)
    if only_on:
        statement = statement.where(table.c.ended_at.is_(None))
    with database.read() as connection:
        return [_public_alarm(row) for row in connection.execute(statement).mappings()]


def find_due_notices(database: Database, since: int, until: int) -> list[dict[str, Any]]:
    """Return the alarms with a notice that waits since a moment between these two, and that moment; oldest first."""
    table = table_of(AlarmTable)
    due = select(table).where(table.c.notice_due_at.between(since, until)).order_by(table.c.notice_due_at)
    with database.read() as connection:
        return [{**_public_alarm(row), "notice_due_at": row["notice_due_at"]} for row in connection.execute(due).mappings()]


def _public_alarm(row: RowMapping) -> dict[str, Any]:
    return {name: value for name, value in public(row).items() if name != "notice_due_at"}


def list_audit(database: Database, limit: int = 50, cursor: str | None = None) -> ResultPage:
    """Return what operators changed, newest first."""
    table = table_of(AuditTable)
    with database.read() as connection:
        return read_newest(connection, table, [*table.columns], [], {}, cursor, limit)
