"""The ways to act on a target: pause it, have its waiting changes tried at once, queue its dead changes again."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, FromClause, RowMapping, delete, select, tuple_, update

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


class ChangeKey(NamedTuple):
    """The key of a waiting or dead change of a target."""

    source: str
    tracker_id: str
    move: int


class InterventionStep(NamedTuple):
    """How many changes were queued or made due, and the key of the last one that was looked at (None: there are no more)."""

    changes: int
    last: ChangeKey | None


def pause_target(database: Database, connection: Connection, target: str, now: int) -> bool:
    """Pause a target: no relay claims its changes until it is resumed. Return False if it is paused or stopped already."""
    row = {"target": target, "stopped_at": now, "reason": _REASON, "is_paused": True}
    insert = database.insert(table_of(StoppedTable)).values(row).on_conflict_do_nothing()
    return connection.execute(insert.returning(table_of(StoppedTable).c.target)).first() is not None


def flush_target(
    database: Database, connection: Connection, target: str, now: int, after: ChangeKey | None = None, limit: int = 1_000
) -> InterventionStep:
    """Look at the next `limit` waiting changes of a target by their keys, and make those due that wait for their next attempt.

    Each is looked at once: one that fails again meanwhile waits again. Relays that pause because the target was down try it at
    once (`read_flush`). The race: a relay claims the same changes. They are locked, and claimed ones are left alone.
    """
    rows, flushes = table_of(DispatchTable), table_of(FlushTable)
    inside, last = _find_step(connection, rows, [rows.c.target == target], after, limit)
    later = select(*_key(rows)).where(*inside, rows.c.due_at > now, rows.c.due_at < BLOCKED, rows.c.claim.is_(None))
    found = connection.execute(database.skip_locked(later, rows)).all()
    if found:
        at_once = update(rows).where(IS_ROW, rows.c.claim.is_(None)).values(due_at=now)
        connection.execute(at_once, [row_keys(target, *row) for row in found])
    insert = database.insert(flushes).values(target=target, requested_at=now)
    connection.execute(insert.on_conflict_do_update(index_elements=["target"], set_={"requested_at": now}))
    note_changes(connection)
    return InterventionStep(len(found), last)


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
    after: ChangeKey | None = None,
    limit: int = 1_000,
) -> InterventionStep:
    """Look at the next `limit` dead changes of a target by their keys, and queue again those that the filter chooses.

    They arrive after later changes of their trackers; the target sees that by `move`. The race: other processes add dead changes
    and retry them at the same time. The rows are locked, and exactly these are moved; one that already waits is only deleted.
    """
    dead = table_of(DeadTable)
    chosen: list[ColumnElement[bool]] = [dead.c.target == target]
    chosen += [column == value for column, value in zip(_key(dead)[:2], only[1:], strict=True) if value is not None]
    inside, last = _find_step(connection, dead, chosen, after, limit)
    times = [] if only.since is None else [dead.c.died_at >= only.since]
    given_up = database.skip_locked(select(dead).where(*inside, *times), dead)
    found = connection.execute(given_up).mappings().all()
    if found:
        _queue_again(database, connection, found, now)
    return InterventionStep(len(found), last)


def _key(table: FromClause) -> tuple[ColumnElement[Any], ...]:
    return table.c.source, table.c.tracker_id, table.c.move


def _find_step(
    connection: Connection, table: FromClause, chosen: Sequence[ColumnElement[bool]], after: ChangeKey | None, limit: int
) -> tuple[Sequence[ColumnElement[bool]], ChangeKey | None]:
    """Return the condition for the next `limit` of the chosen changes by their keys, and the last key (None: no more)."""
    key = _key(table)
    inside = [*chosen, *([] if after is None else [tuple_(*key) > after])]
    end = connection.execute(select(*key).where(*inside).order_by(*key).offset(limit - 1).limit(1)).first()
    if end is None:
        return inside, None
    return [*inside, tuple_(*key) <= tuple(end)], ChangeKey(*end)


def _queue_again(database: Database, connection: Connection, found: Sequence[RowMapping], now: int) -> None:
    dead, rows = table_of(DeadTable), table_of(DispatchTable)
    names = ("target", "source", "tracker_id", "move", "event_id", "error")
    fresh = {"due_at": now, "attempts": 0, "made_at": now}
    waiting = [{**{name: row[name] for name in names}, **fresh} for row in found]
    connection.execute(database.insert(rows).on_conflict_do_nothing(), waiting)
    keys = [row_keys(row["target"], row["source"], row["tracker_id"], row["move"]) for row in found]
    connection.execute(delete(dead).where(*is_row(dead)), keys)
    note_changes(connection)
