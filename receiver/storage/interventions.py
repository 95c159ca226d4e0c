"""The ways to act on a target: pause it, have its waiting changes tried at once, queue its dead changes again."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, select, tuple_, update

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


class DeadKey(NamedTuple):
    """The key of a dead change of a target."""

    source: str
    tracker_id: str
    move: int


class QueuedAgain(NamedTuple):
    """How many changes were queued again, and the key of the last one that was looked at (None: there are no more)."""

    changes: int
    last: DeadKey | None


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
    database: Database,
    connection: Connection,
    target: str,
    now: int,
    only: DeadFilter = ALL_DEAD,
    after: DeadKey | None = None,
    limit: int = 1_000,
) -> QueuedAgain:
    """Look at the next `limit` dead changes of a target by their keys, and queue again those that the filter chooses.

    All of them failed until `now`. They arrive after later changes of their trackers; the target sees that by `move`. The
    race: other processes add dead changes and retry them at the same time. The rows are locked, and exactly these are moved; one
    that already waits is only deleted.
    """
    dead = table_of(DeadTable)
    key = dead.c.source, dead.c.tracker_id, dead.c.move
    inside: list[ColumnElement[bool]] = [dead.c.target == target]
    inside += [column == value for column, value in zip(key[:2], only[1:], strict=True) if value is not None]
    if after is not None:
        inside.append(tuple_(*key) > after)
    end = connection.execute(select(*key).where(*inside).order_by(*key).offset(limit - 1).limit(1)).first()
    if end is not None:
        inside.append(tuple_(*key) <= tuple(end))
    times = [dead.c.died_at <= now, *([] if only.since is None else [dead.c.died_at >= only.since])]
    given_up = database.skip_locked(select(dead).where(*inside, *times), dead)
    found = connection.execute(given_up).mappings().all()
    if found:
        _queue_again(database, connection, found, now)
    return QueuedAgain(len(found), None if end is None else DeadKey(*end))


def _queue_again(database: Database, connection: Connection, found: Sequence[RowMapping], now: int) -> None:
    dead, rows = table_of(DeadTable), table_of(DispatchTable)
    names = ("target", "source", "tracker_id", "move", "event_id", "error")
    fresh = {"due_at": now, "attempts": 0, "made_at": now}
    waiting = [{**{name: row[name] for name in names}, **fresh} for row in found]
    connection.execute(database.insert(rows).on_conflict_do_nothing(), waiting)
    keys = [row_keys(row["target"], row["source"], row["tracker_id"], row["move"]) for row in found]
    connection.execute(delete(dead).where(*is_row(dead)), keys)
    note_changes(connection)
