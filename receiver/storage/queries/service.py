"""Queries about the service itself: setup windows, our own failures, alarms, the audit log."""

from typing import Any

from sqlalchemy import RowMapping, exists, func, literal, select

from receiver import clock
from receiver.clock import first_id
from receiver.domain.records import DOWNLOAD, WEBHOOK
from receiver.domain.traffic import DeliveryResult
from receiver.errors import ReadingFailed
from receiver.storage.database import Database
from receiver.storage.queries.pages import ResultPage, public, read_by_time
from receiver.storage.tables.ledger import IS_OPEN, IS_TEST, NOT_ACCEPTED, DeliveryTable, QuarantineTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import MAX_WINDOW_MICROS, AlarmTable, AuditTable, SetupWindowTable

MAX_UNDECIDABLE = 1000
"""The maximum number of messages, and of deliveries, that `find_undecidable` returns."""

MAX_RESULTS = 200
"""The maximum number of deliveries that `read_results` returns."""

MAX_QUARANTINED = 10_000
"""The quarantine is counted up to this number and one more."""

_SKEW_MICROS = 60_000_000  # by which the clocks of two receivers may differ


def setup_windows(database: Database) -> dict[str, int]:
    """Return the end of the setup window of each source, in microseconds. Closed windows are included.

    A window lasts from its opening for at most 24 hours, whatever its row says.
    """
    table = table_of(SetupWindowTable)
    opened = select(table).where(table.c.opened_at <= clock.to_micros(clock.now()) + _SKEW_MICROS)
    with database.read() as connection:
        return {row.source: min(row.closes_at, row.opened_at + MAX_WINDOW_MICROS) for row in connection.execute(opened)}


def find_undecidable(database: Database, since: int = 0) -> dict[str, list[int]]:
    """Return the arrival times, by source and in microseconds, of items that our own code failed on and that are still open.

    These are quarantined messages and unread deliveries: of each kind the oldest MAX_UNDECIDABLE since a time in microseconds.
    """
    quarantined, unread = table_of(QuarantineTable).c, table_of(DeliveryTable).c
    kinds = (
        select(quarantined.source, quarantined.received_at)
        .where(quarantined.reason == "undecidable", quarantined.id >= first_id(since), IS_OPEN)
        .order_by(quarantined.id),
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


def read_results(database: Database, source: str, since: int) -> list[DeliveryResult]:
    """Return the newest MAX_RESULTS deliveries of a source since a time in microseconds, newest first.

    Tests, imports and accepted downloads of the customer list are left out.
    """
    table = table_of(DeliveryTable)
    columns = [table.c[name] for name in DeliveryResult._fields]
    mine = table.c.source == source, table.c.id >= first_id(since), table.c.test_run.is_(None), table.c.origin == WEBHOOK
    telling = (table.c.kind != DOWNLOAD) | (table.c.outcome != "accepted")
    with database.read() as connection:
        rows = connection.execute(select(*columns).where(*mine, telling).order_by(table.c.id.desc()).limit(MAX_RESULTS))
        return [DeliveryResult(*row) for row in rows]


def count_quarantined(database: Database) -> int:
    """Return the number of open messages and events in quarantine, those of tests left out, at most MAX_QUARANTINED + 1."""
    items, deliveries = table_of(QuarantineTable), table_of(DeliveryTable)
    of_test = exists().where(deliveries.c.id == items.c.delivery_id, IS_TEST)
    some = select(literal(1)).select_from(items).where(IS_OPEN, ~of_test).limit(MAX_QUARANTINED + 1).subquery()
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def list_alarms(database: Database, *, only_on: bool = False) -> list[dict[str, Any]]:
    """Return the alarms that are or were on, the latest start first. `ended_at` is None for an alarm that is on."""
    table = table_of(AlarmTable)
    statement = select(table).order_by(table.c.began_at.desc(), table.c.name, table.c.subject)
    if only_on:
        statement = statement.where(table.c.ended_at.is_(None))
    with database.read() as connection:
        return [_public_alarm(row) for row in connection.execute(statement).mappings()]


def find_due_notices(database: Database, since: int, until: int) -> list[dict[str, Any]]:
    """Return the alarms with an unsent notice that became due between these times, and when (`notice_due_at`); oldest first.

    Times are microseconds.
    """
    table = table_of(AlarmTable)
    due = select(table).where(table.c.notice_due_at.between(since, until)).order_by(table.c.notice_due_at)
    with database.read() as connection:
        return [{**_public_alarm(row), "notice_due_at": row["notice_due_at"]} for row in connection.execute(due).mappings()]


def _public_alarm(row: RowMapping) -> dict[str, Any]:
    return {name: value for name, value in public(row).items() if name != "notice_due_at"}


def list_audit(database: Database, limit: int = 50, cursor: str | None = None) -> ResultPage:
    """Return the entries of the audit log, newest first."""
    table = table_of(AuditTable)
    with database.read() as connection:
        return read_by_time(connection, table, [*table.columns], [], {}, cursor, limit)
