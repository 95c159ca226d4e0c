"""The ways to act on a target: pause it, have its waiting changes tried at once, queue its dead changes again."""

from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, select, update

from receiver.storage.database import Database
from receiver.storage.notifications import note_changes
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import BLOCKED, IS_ROW, DeadTable, DispatchTable, FlushTable, StoppedTable, is_row, row_keys

_REASON = "An operator paused it."


class DeadFilter(NamedTuple):
    """The dead changes to retry: those that failed since a time, in microseconds, of a source, and of a tracker. None: all."""

    since: int | None = None
    source: str | None = None
    tracker_id: str | None = None


ALL_DEAD = DeadFilter()


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


def retry_dead(
    database: Database, connection: Connection, target: str, now: int, only: DeadFilter = ALL_DEAD, limit: int = 1_000
) -> int:
    """Queue up to `limit` changes of a target that failed for good until `now` again, `only` some; return their number.

    They arrive after later changes of their trackers; the target sees that by `move`. The race: other processes add dead
    changes and retry them at the same time. The rows are locked, and exactly these are moved; one that already waits is
    only deleted.
    """
    dead, rows = table_of(DeadTable), table_of(DispatchTable)
    given_up = select(dead).where(dead.c.target == target, dead.c.died_at <= now, *_are_dead(only)).limit(limit)
    found = connection.execute(database.skip_locked(given_up, dead)).mappings().all()
    if not found:
        return 0
    names = ("target", "source", "tracker_id", "move", "event_id", "error")
    fresh = {"due_at": now, "attempts": 0, "made_at": now}
    waiting = [{**{name: row[name] for name in names}, **fresh} for row in found]
    connection.execute(database.insert(rows).on_conflict_do_nothing(), waiting)
    keys = [row_keys(row["target"], row["source"], row["tracker_id"], row["move"]) for row in found]
    connection.execute(delete(dead).where(*is_row(dead)), keys)
    note_changes(connection)
    return len(found)


def _are_dead(only: DeadFilter) -> list[ColumnElement[bool]]:
    dead = table_of(DeadTable)
    since = [] if only.since is None else [dead.c.died_at >= only.since]
    names = [(dead.c.source, only.source), (dead.c.tracker_id, only.tracker_id)]
    return since + [column == value for column, value in names if value is not None]
