"""Queries about targets: waiting changes, changes that failed for good, stopped targets."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, literal, select, tuple_

from receiver import clock
from receiver.clock import iso
from receiver.domain.changes import SHIPMENT_MOVE_OFFSET
from receiver.domain.processes import describe_process
from receiver.errors import NotFound, TargetInUse
from receiver.storage.database import Database
from receiver.storage.processes import read_processes
from receiver.storage.queries.pages import ResultPage, is_storable, public, read_cursor, write_cursor
from receiver.storage.stranded import list_names
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import HAS_FAILED, DeadTable, DispatchTable, StoppedTable, first_due

MAX_COUNTED = 10_000
"""Changes are counted up to this number; a larger count is capped and says so."""

_KEY = ("target", "source", "tracker_id", "move")


def show_targets(database: Database, names: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the state of each target: those in `names`, and all others with stored changes.

    `waiting` and `dead` are counts up to MAX_COUNTED; for the times see `Waiting`.
    """
    with database.read() as connection:
        return {name: _show(connection, name) for name in _list_names(connection, names)}


def list_target_names(database: Database, names: Sequence[str]) -> list[str]:
    """Return the names of the targets in `names`, and of all others with stored changes."""
    with database.read() as connection:
        return _list_names(connection, names)


def _list_names(connection: Connection, names: Sequence[str]) -> list[str]:
    stored = {name for model in (DispatchTable, DeadTable, StoppedTable) for name in list_names(connection, table_of(model))}
    return list(dict.fromkeys([*names, *sorted(stored)]))


def check_target(database: Database, names: Sequence[str], target: str) -> None:
    """Raise NotFound for a target that the settings do not name and that has no stored changes."""
    if target in names:
        return
    tables = [table_of(model) for model in (DispatchTable, DeadTable, StoppedTable)]
    if is_storable(target):
        with database.read() as connection:
            if any(
                connection.execute(select(table.c.target).where(table.c.target == target).limit(1)).first() for table in tables
            ):
                return
    known = f"The targets are: {', '.join(names)}." if names else "There are no targets in the settings."
    raise NotFound(f"There is no target {target}. {known}")


def check_named(names: Sequence[str], target: str) -> None:
    """Raise NotFound for a target that the settings do not name."""
    if target not in names:
        raise NotFound(f"The settings name no target {target}.")


def check_unnamed(database: Database, names: Sequence[str], target: str) -> None:
    """Raise TargetInUse for a target that the settings name or a running process knows."""
    if target in names:
        raise TargetInUse(f"The settings name {target}. Remove it from them and restart the service first. Nothing was removed.")
    running = read_processes(database, clock.to_micros(clock.now()))
    for row in (*running.receivers, *running.relays):
        if target in row.targets:
            raise TargetInUse(f"{target} is in use: {describe_process(row)} knows it. Restart that first. Nothing was removed.")


def list_dead(database: Database, target: str | None = None, limit: int = 50, cursor: str | None = None) -> ResultPage:
    """Return the changes that failed for good, by target and tracker, with their last error."""
    dead = table_of(DeadTable)
    key = [dead.c[name] for name in _KEY]
    statement = select(dead).order_by(*key).limit(limit + 1)
    if target is not None:
        statement = statement.where(dead.c.target == target)
    after = read_cursor(cursor, str, str, str, int)
    if after is not None:
        statement = statement.where(tuple_(*key) > after)
    if not is_storable(target):
        return ResultPage([], None)
    with database.read() as connection:
        rows = connection.execute(statement).mappings().all()
    following = write_cursor(*(rows[limit - 1][name] for name in _KEY)) if len(rows) > limit else None
    return ResultPage([_show_dead(row) for row in rows[:limit]], following)


def _show(connection: Connection, target: str) -> dict[str, Any]:
    dead, stopped = table_of(DeadTable), table_of(StoppedTable)
    waiting, rows = read_waiting(connection, target), table_of(DispatchTable)
    gone = connection.execute(select(stopped).where(stopped.c.target == target)).mappings().first()
    counted, died = _count(connection, rows.c.target == target), _count(connection, dead.c.target == target)
    return {
        "waiting": min(counted, MAX_COUNTED),
        "waiting_capped": counted > MAX_COUNTED,
        "oldest_due_at": _iso(waiting.oldest_due_at),
        "failing_since": _iso(waiting.failing_since),
        "last_error": waiting.last_error,
        "dead": min(died, MAX_COUNTED),
        "dead_capped": died > MAX_COUNTED,
        "next_due_at": _iso(connection.execute(first_due(target)).scalar()),
        "paused_at": iso(gone["stopped_at"]) if gone is not None and gone["is_paused"] else None,
        "stopped_at": iso(gone["stopped_at"]) if gone is not None and not gone["is_paused"] else None,
        "stop_reason": gone["reason"] if gone is not None and not gone["is_paused"] else None,
    }


def _show_dead(row: RowMapping) -> dict[str, Any]:
    of_shipment = row["move"] > SHIPMENT_MOVE_OFFSET
    number = row["move"] - SHIPMENT_MOVE_OFFSET if of_shipment else row["move"]
    kind = {"basis": "shipment" if of_shipment else "events", "sequence": number, "event_id": row["event_id"] or None}
    return {**public(row), **kind}


class Waiting(NamedTuple):
    """The waiting changes of a target. Times are microseconds.

    `oldest_due_at` is when the oldest change first became due. `failing_since` is the same for the oldest change whose last
    attempt failed, and `last_error` is the error of that attempt. A field is None if there is no such change.
    """

    oldest_due_at: int | None
    failing_since: int | None
    last_error: str | None


def read_waiting(connection: Connection, target: str) -> Waiting:
    """Return the waiting changes of a target, from the ends of two indexes. The cost does not depend on their number.

    Changes that wait behind an earlier one of their tracker are ignored, because the earlier one has waited longer.
    """
    rows = table_of(DispatchTable)
    due_at = connection.execute(first_due(target)).scalar()
    oldest_failed = select(rows.c.made_at, rows.c.error).where(rows.c.target == target, HAS_FAILED)
    failed = connection.execute(oldest_failed.order_by(rows.c.made_at).limit(1)).first()
    failing_since, last_error = (None, None) if failed is None else failed
    return Waiting(min((at for at in (due_at, failing_since) if at is not None), default=None), failing_since, last_error)


class TargetCounts(NamedTuple):
    """The numbers of changes of a target, each at most MAX_COUNTED + 1. `failed` are waiting ones whose last attempt failed."""

    waiting: int
    failed: int
    dead: int
    oldest_due_at: int | None


def count_changes(database: Database, names: Sequence[str] = ()) -> dict[str, TargetCounts]:
    """Count the changes of these targets, and of all others with stored changes."""
    rows, dead = table_of(DispatchTable), table_of(DeadTable)
    counted = {}
    with database.read() as connection:
        for name in dict.fromkeys([*names, *list_names(connection, rows), *list_names(connection, dead)]):
            waiting = _count(connection, rows.c.target == name)
            failed = _count(connection, and_(rows.c.target == name, HAS_FAILED))
            oldest = read_waiting(connection, name).oldest_due_at
            counted[name] = TargetCounts(waiting, failed, _count(connection, dead.c.target == name), oldest)
    return counted


def find_oldest_due(database: Database) -> dict[str, int]:
    """Return `Waiting.oldest_due_at` of each target with waiting changes, without paused targets."""
    stopped = table_of(StoppedTable)
    with database.read() as connection:
        paused = {*connection.execute(select(stopped.c.target).where(stopped.c.is_paused.is_(True))).scalars()}
        names = (name for name in list_names(connection, table_of(DispatchTable)) if name not in paused)
        oldest = {name: read_waiting(connection, name).oldest_due_at for name in names}
    return {name: at for name, at in oldest.items() if at is not None}


def _count(connection: Connection, condition: ColumnElement[bool]) -> int:
    """Count up to one more than MAX_COUNTED."""
    some = select(literal(1)).where(condition).limit(MAX_COUNTED + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def _iso(moment: int | None) -> str | None:
    return None if moment is None else iso(moment)
