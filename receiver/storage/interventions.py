"""What operators do to a target: pause it, or have its waiting changes tried at once."""

from sqlalchemy import Connection, select, update

from receiver.storage.database import Database
from receiver.storage.notifications import note_changes
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import BLOCKED, IS_ROW, DispatchTable, FlushTable, StoppedTable, row_keys

_REASON = "An operator paused it."


def pause_target(database: Database, connection: Connection, target: str, now: int) -> bool:
    """Pause a target: no relay claims its changes until it is resumed. Return False if it is paused or stopped already."""
    row = {"target": target, "stopped_at": now, "reason": _REASON, "is_paused": True}
    insert = database.insert(table_of(StoppedTable)).values(row).on_conflict_do_nothing()
    return connection.execute(insert.returning(table_of(StoppedTable).c.target)).first() is not None


def flush_target(database: Database, connection: Connection, target: str, now: int, limit: int = 1_000) -> int:
    """Make up to `limit` changes due that wait for their next attempt; return their number.

    Relays that pause because the target was down try it at once (`read_flush`). The race: a relay claims the same changes. They
    are locked, and claimed ones are left alone.
    """
    rows, flushes = table_of(DispatchTable), table_of(FlushTable)
    key = rows.c.source, rows.c.tracker_id, rows.c.move
    later = select(*key).where(rows.c.target == target, rows.c.due_at > now, rows.c.due_at < BLOCKED, rows.c.claim.is_(None))
    found = connection.execute(database.skip_locked(later.order_by(rows.c.due_at).limit(limit), rows)).all()
    if found:
        at_once = update(rows).where(IS_ROW, rows.c.claim.is_(None)).values(due_at=now)
        connection.execute(at_once, [row_keys(target, *row) for row in found])
    insert = database.insert(flushes).values(target=target, requested_at=now)
    connection.execute(insert.on_conflict_do_update(index_elements=["target"], set_={"requested_at": now}))
    note_changes(connection)
    return len(found)


def read_flush(connection: Connection, target: str) -> int | None:
    """Return when an operator last had the changes of a target tried at once, in microseconds."""
    flushes = table_of(FlushTable)
    return connection.execute(select(flushes.c.requested_at).where(flushes.c.target == target)).scalar()
