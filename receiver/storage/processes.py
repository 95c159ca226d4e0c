"""The running processes: each refreshes its own rows and removes the rows of processes that no longer run."""

import json
from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, and_, delete, or_, select, update

from receiver.domain.processes import RECEIVER, RELAY, RUNNING_MICROS, Processes, ProcessRow
from receiver.domain.storable import make_storable
from receiver.storage.database import Database
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import ProcessTable
from receiver.storage.tables.recovery import ServiceSpanTable

KEPT_MICROS = 3600 * 1_000_000
"""The time for which the row of a process stays after its last report."""

SPANS_KEPT_MICROS = 400 * 24 * KEPT_MICROS
"""The time for which it is known when a receiver ran; as long as the hourly counts."""


def note_processes(database: Database, connection: Connection, rows: Sequence[ProcessRow]) -> None:
    """Record that a process runs, with a row for each of its roles, and remove the rows of processes that are gone.

    Where only one process can write, all others are gone. A time far in the future comes from a wrong clock.
    """
    table, now = table_of(ProcessTable), rows[0].seen_at
    for row in rows:
        texts = {"targets": json.dumps(row.targets), "settings": json.dumps(dict(row.settings))}
        values = row._asdict() | {"host": make_storable(row.host), **texts}
        statement = database.insert(table).values(values)
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns), set_={"seen_at": row.seen_at, "targets": values["targets"]}
        )
        connection.execute(statement)
    _note_span(database, connection, next((row for row in rows if row.role == RECEIVER), None))
    gone = or_(table.c.seen_at < now - KEPT_MICROS, table.c.seen_at > now + KEPT_MICROS)
    if database.has_one_writer:
        gone = table.c.id != rows[0].id
    connection.execute(delete(table).where(gone))


def remove_process(connection: Connection, process: str, now: int) -> None:
    """Remove the rows of a process that stops now."""
    table, spans = table_of(ProcessTable), table_of(ServiceSpanTable)
    connection.execute(delete(table).where(table.c.id == process))
    connection.execute(update(spans).where(spans.c.id == process).values(seen_at=now))


def _note_span(database: Database, connection: Connection, row: ProcessRow | None) -> None:
    """Record that a receiver runs, and remove the spans that ended long ago."""
    if row is None:
        return
    spans = table_of(ServiceSpanTable)
    statement = database.insert(spans).values(id=row.id, began_at=row.started_at, seen_at=row.seen_at)
    keys = list(spans.primary_key.columns)
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_={"seen_at": row.seen_at}))
    connection.execute(delete(spans).where(spans.c.seen_at < row.seen_at - SPANS_KEPT_MICROS))


def read_processes(database: Database, now: int) -> Processes:
    """Return the running processes, the longest running one first. `now` is in microseconds."""
    table = table_of(ProcessTable)
    seen = and_(table.c.seen_at >= now - RUNNING_MICROS, table.c.seen_at <= now + RUNNING_MICROS)
    with database.read() as connection:
        found = connection.execute(select(table).where(seen).order_by(table.c.started_at, table.c.id)).mappings()
        rows = [_read_row(row) for row in found]
    return Processes([row for row in rows if row.role == RECEIVER], [row for row in rows if row.role == RELAY])


def _read_row(row: RowMapping) -> ProcessRow:
    texts = {"targets": tuple(json.loads(row["targets"])), "settings": json.loads(row["settings"] or "{}")}
    return ProcessRow(**{**row, **texts})
