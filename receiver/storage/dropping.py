"""Removal of the stored changes of a target that the settings no longer name."""

from typing import NamedTuple

from sqlalchemy import Connection, Table, delete, select, tuple_

from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import DeadTable, DispatchTable, StoppedTable


class Dropped(NamedTuple):
    """The number of removed changes of a target: waiting ones, and ones that had failed for good."""

    waiting: int = 0
    dead: int = 0

    def add(self, other: "Dropped") -> "Dropped":
        """Return the sums."""
        return Dropped(self.waiting + other.waiting, self.dead + other.dead)


def drop_target(connection: Connection, target: str, limit: int = 1_000) -> Dropped:
    """Remove up to `limit` changes of a target; with the last of them also its stop mark. (0, 0): nothing is left."""
    stopped = table_of(StoppedTable)
    waiting = _remove(connection, table_of(DispatchTable), target, limit)
    dead = _remove(connection, table_of(DeadTable), target, limit - waiting)
    if waiting + dead < limit:
        connection.execute(delete(stopped).where(stopped.c.target == target))
    return Dropped(waiting, dead)


def _remove(connection: Connection, table: Table, target: str, limit: int) -> int:
    keys = [table.c[name] for name in ("target", "source", "tracker_id", "move")]
    some = select(*keys).where(table.c.target == target).limit(limit)
    return int(connection.execute(delete(table).where(tuple_(*keys).in_(some))).rowcount)
