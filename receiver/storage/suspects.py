"""Release of the changes that a dead relay had claimed. Those that may have killed it are marked as suspects."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, and_, literal, or_, select, update

from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import IS_CLAIMED, SUSPECT, DispatchTable, is_due

_PAUSE_MICROS = 60_000_000
"""The pause of a suspect after the start of a service, for each earlier end of its process.

A service that something else ends again and again does not live that long, so these ends are not blamed on the suspect.
"""


def release(connection: Connection, owner: str | None, now: int, handlers: Sequence[str] = (), *, crashed: bool = True) -> int:
    """Release the claims of a relay that no longer runs, or of one exchange; return the number of suspects among them.

    The marks of a relay start with `owner` and a dot, that of an exchange is `owner`; None means all relays of a service that
    starts. If one `crashed`, changes of these `handlers` may be the cause, so they become suspects. Otherwise suspects stay what
    they are.
    """
    rows = table_of(DispatchTable)
    claimed = rows.c.claim.is_not(None) if owner is None else _is_of(rows.c.claim, owner)
    ours = and_(IS_CLAIMED, claimed, rows.c.claim != SUSPECT)
    suspects = 0
    if handlers:
        pause = literal(_PAUSE_MICROS if owner is None else 0, BigInteger)
        due_at = literal(now, BigInteger) + pause * rows.c.unsettled
        counted = {"due_at": due_at, "unsettled": rows.c.unsettled + 1}
        found, values = (ours, counted) if crashed else (and_(ours, rows.c.unsettled > 0), {"due_at": now})
        mark = update(rows).where(found, rows.c.target.in_(handlers)).values(claim=SUSPECT, **values)
        suspects = connection.execute(mark).rowcount
    connection.execute(update(rows).where(ours).values(claim=None, due_at=now))
    return suspects


def _is_of(claim: ColumnElement[Any], owner: str) -> ColumnElement[bool]:
    return or_(claim == owner, claim.startswith(f"{owner}.", autoescape=True))


def has_suspects(connection: Connection, handlers: Sequence[str], now: int) -> bool:
    """Tell whether any suspects of these handlers are due."""
    rows = table_of(DispatchTable)
    due = select(rows.c.target).where(IS_CLAIMED, or_(*is_due(now)), rows.c.target.in_(handlers)).limit(1)
    return connection.execute(due).first() is not None
