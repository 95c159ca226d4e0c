"""Changes that wait behind earlier ones of their tracker: what makes the first of those that are left come due.

Whoever removes a change unblocks the next one. A relay of version 0.1.0 beside ours does not, nor does who deletes rows by
hand: an `OrphanSearch` finds what they left blocked behind nothing.
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
    """Let the changes come due that are the first ones of their trackers now. `removed` are the keys of those before."""
    rows = table_of(DispatchTable)
    is_blocked = rows.c.due_at + 0 == BLOCKED  # as a sum, so that no index is asked for all that are blocked
    first = and_(IS_OF_TRACKER, is_blocked, rows.c.move == first_move(rows))
    names = ("of_target", "of_source", "of_tracker")
    connection.execute(update(rows).where(first).values(due_at=due_at), [{name: key[name] for name in names} for key in removed])


class OrphanSearch:
    """Goes through all that waits in the order of its key, piece by piece, and begins again at the end."""

    def __init__(self) -> None:
        self._last = _START

    def unblock(self, connection: Connection, now: int, limit: int = _LOOKED_AT) -> int:
        """Look at the next `limit` rows; let those come due that are blocked and first of their trackers; return how many.

        Where an earlier one comes in meanwhile this is too much, and the next claim blocks it again.
        """
        rows = table_of(DispatchTable)
        tracker = rows.c.target, rows.c.source, rows.c.tracker_id
        in_order = select(*tracker, rows.c.move, rows.c.due_at).order_by(*tracker, rows.c.move)
        found = connection.execute(in_order.where(tuple_(*tracker) > self._last).limit(limit)).all()
        first = {tuple(row[:3]): row for row in reversed(found)}
        self._last = tuple(found[-1][:3]) if len(found) == limit else _START  # what is left of its tracker is not first
        orphans = [row_keys(*row[:4]) for _, row in sorted(first.items()) if row.due_at == BLOCKED]
        if orphans:
            connection.execute(update(rows).where(IS_ROW, rows.c.due_at == BLOCKED).values(due_at=now), orphans)
            note_changes(connection)
        return len(orphans)
