"""Release of the changes that a dead relay had claimed. Those that may have killed it are marked as suspects."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import IS_CLAIMED, SUSPECT, DispatchTable


def release(connection: Connection, owner: str | None, now: int, handlers: Sequence[str] = ()) -> int:
    """Release the claims of a relay that no longer runs, or of one exchange; return the number of suspects among them.

    The marks of a relay start with `owner` and a dot, that of an exchange is `owner`; None means all relays. Changes of these
    `handlers` may have killed it, so they become suspects.
    """
    rows = table_of(DispatchTable)
    claimed = rows.c.claim.is_not(None) if owner is None else _is_of(rows.c.claim, owner)
    ours = and_(IS_CLAIMED, claimed, rows.c.claim != SUSPECT)
    suspected = {"claim": SUSPECT, "due_at": now, "unsettled": rows.c.unsettled + 1}
    suspects = connection.execute(update(rows).where(ours, rows.c.target.in_(handlers)).values(suspected)).rowcount
    connection.execute(update(rows).where(ours).values(claim=None, due_at=now))
    return int(suspects)


def _is_of(claim: ColumnElement[Any], owner: str) -> ColumnElement[bool]:
    return or_(claim == owner, claim.startswith(f"{owner}.", autoescape=True))


def has_suspects(connection: Connection, handlers: Sequence[str], now: int) -> bool:
    """Tell whether any suspects of these handlers are due."""
    rows = table_of(DispatchTable)
    due = select(rows.c.target).where(IS_CLAIMED, rows.c.due_at <= now, rows.c.target.in_(handlers)).limit(1)
    return connection.execute(due).first() is not None
