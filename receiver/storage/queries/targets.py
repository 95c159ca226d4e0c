"""What waits for whom: changes that a target has not taken, and those that it could not take."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, case, func, select, tuple_

from receiver.clock import iso
from receiver.errors import NotFound
from receiver.storage.database import Database
from receiver.storage.dispatches import DeadTable, DispatchTable, StoppedTable
from receiver.storage.queries.pages import Page, is_keepable, public, read_cursor, write_cursor
from receiver.storage.tables import table_of

MAX_COUNTED = 10_000
"""Up to which is counted: as many, or more."""

_PLACE = ("target", "source", "tracker_id", "move")


def show_targets(database: Database, names: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return what waits for each target: for those named, and for all others of which something is kept.

    `failing_since` is when the oldest change was made that was tried and not taken, `error` how the last try of it ended.
    """
    with database.read() as connection:
        kept = {name for model in (DispatchTable, DeadTable, StoppedTable) for name in _names(connection, table_of(model))}
        return {name: _show(connection, name) for name in dict.fromkeys([*names, *sorted(kept)])}


def check_target(database: Database, names: Sequence[str], target: str) -> None:
    """Raise NotFound for a target that is not among the settings' `names` and of which nothing is kept either."""
    if target in names:
        return
    tables = [table_of(model) for model in (DispatchTable, DeadTable, StoppedTable)]
    if is_keepable(target):
        with database.read() as connection:
            if any(
                connection.execute(select(table.c.target).where(table.c.target == target).limit(1)).first() for table in tables
            ):
                return
    known = f"The targets are: {', '.join(names)}." if names else "There are no targets in the settings."
    raise NotFound(f"There is no target {target}. {known}")


def list_dead(database: Database, target: str | None = None, limit: int = 50, cursor: str | None = None) -> Page:
    """Return changes that were given up, by target and tracker, with the last error."""
    dead = table_of(DeadTable)
    place = [dead.c[name] for name in _PLACE]
    statement = select(dead).order_by(*place).limit(limit + 1)
    if target is not None:
        statement = statement.where(dead.c.target == target)
    behind = read_cursor(cursor, str, str, str, int)
    if behind is not None:
        statement = statement.where(tuple_(*place) > tuple_(*behind))
    if not is_keepable(target):
        return Page([], None)
    with database.read() as connection:
        rows = connection.execute(statement).mappings().all()
    following = write_cursor(*(rows[limit - 1][name] for name in _PLACE)) if len(rows) > limit else None
    return Page([public(row) for row in rows[:limit]], following)


def _names(connection: Connection, table: Table) -> Iterator[str]:
    """Give the targets in a table by jumping from one to the next: each may have a great many rows."""
    name = connection.execute(select(func.min(table.c.target))).scalar()
    while name is not None:
        yield name
        name = connection.execute(select(func.min(table.c.target)).where(table.c.target > name)).scalar()


def _show(connection: Connection, target: str) -> dict[str, Any]:
    dead, stopped = table_of(DeadTable), table_of(StoppedTable)
    gone = connection.execute(select(stopped).where(stopped.c.target == target)).mappings().first()
    given_up = select(dead.c.move).where(dead.c.target == target).limit(MAX_COUNTED).subquery()
    first, last = _look(connection, target, backwards=False), _look(connection, target, backwards=True)
    failed = min((part for part in (first, last) if part.failed_at is not None), key=_failed_at, default=first)
    return {
        "waiting": first.waiting,
        "oldest_waiting_at": _earlier(first.oldest_at, last.oldest_at),
        "failing_since": _earlier(failed.failed_at),
        "error": failed.error,
        "dead": connection.execute(select(func.count()).select_from(given_up)).scalar_one(),
        "stopped_at": None if gone is None else iso(gone["stopped_at"]),
        "stop_reason": None if gone is None else gone["reason"],
    }


class _Part(NamedTuple):
    """What a bounded number of rows says: how many, when the oldest of them was made, and the oldest of those that failed."""

    waiting: int
    oldest_at: int | None
    failed_at: int | None
    error: str | None = None


def _failed_at(part: _Part) -> int:
    return part.failed_at or 0


def _look(connection: Connection, target: str, *, backwards: bool) -> _Part:
    """Look at what comes due first, or last: what has failed is at either end."""
    rows = table_of(DispatchTable)
    columns = [rows.c.made_at, case((rows.c.error.is_not(None), rows.c.made_at)).label("failed_at")]
    seen = select(*columns, rows.c.error).where(rows.c.target == target).limit(MAX_COUNTED)
    part = seen.order_by(rows.c.due_at.desc() if backwards else rows.c.due_at).subquery()
    found = _Part(*connection.execute(select(func.count(), func.min(part.c.made_at), func.min(part.c.failed_at))).one())
    if found.failed_at is None:
        return found
    failed = select(part.c.error).where(part.c.failed_at == found.failed_at).limit(1)
    return found._replace(error=connection.execute(failed).scalar())


def _earlier(*moments: int | None) -> str | None:
    known = [moment for moment in moments if moment is not None]
    return iso(min(known)) if known else None
