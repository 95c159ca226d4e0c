"""Blocked changes: they wait for earlier changes of the same tracker, and become due afterwards.

The code that removes a change unblocks the next one. A relay of version 0.1.0 does not, nor does a person who deletes rows:
`OrphanSearch` finds changes that are blocked without an earlier one.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, select, tuple_, update

from receiver.storage.notifications import note_changes
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import BLOCKED, IS_OF_TRACKER, IS_ROW, DispatchTable, first_move, row_keys

_LOOKED_AT = 2_000
_START = ("", "", "")


def unblock(connection: Connection, due_at: int, removed: Sequence[dict[str, Any]]) -> None:
    """Make the next changes of trackers due. `removed` are the keys (`row_keys`) of the removed changes before them."""
    rows = table_of(DispatchTable)
    is_blocked = rows.c.due_at + 0 == BLOCKED  # a sum, so that the database does not search an index for all blocked rows
    first = and_(IS_OF_TRACKER, is_blocked, rows.c.move == first_move(rows))
    names = ("of_target", "of_source", "of_tracker")
    connection.execute(update(rows).where(first).values(due_at=due_at), [{name: key[name] for name in names} for key in removed])


class OrphanSearch:
    """A search through all waiting changes, piece by piece in the order of their keys. After the end it starts again."""

    def __init__(self) -> None:
        self._last = _START

    def unblock(self, connection: Connection, now: int, limit: int = _LOOKED_AT) -> int:
        """Check the next `limit` rows; make blocked ones due that are the first of their trackers; return their number.

        If an earlier change arrives meanwhile, the next claim blocks the row again.
        """
        rows = table_of(DispatchTable)
        tracker = rows.c.target, rows.c.source, rows.c.tracker_id
        in_order = select(*tracker, rows.c.move, rows.c.due_at).order_by(*tracker, rows.c.move)
        found = connection.execute(in_order.where(tuple_(*tracker) > self._last).limit(limit)).all()
        first = {tuple(row[:3]): row for row in reversed(found)}
        self._last = tuple(found[-1][:3]) if len(found) == limit else _START  # further rows of its tracker are not the first
        orphans = [row_keys(*row[:4]) for _, row in sorted(first.items()) if row.due_at == BLOCKED]
        if orphans:
            connection.execute(update(rows).where(IS_ROW, rows.c.due_at == BLOCKED).values(due_at=now), orphans)
            note_changes(connection)
        return len(orphans)
