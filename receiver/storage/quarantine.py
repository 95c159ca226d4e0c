"""The state of quarantined items: a corrected copy resolves them, an operator dismisses them."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, select, update

from receiver.storage.database import Database
from receiver.storage.tables.ledger import IS_OPEN, QuarantineTable
from receiver.storage.tables.metadata import table_of


def resolve_items(connection: Connection, replaced: Mapping[tuple[str, int], int]) -> None:
    """Close the open items at these places (delivery id and position), each with the time of the copy that replaced it."""
    if not replaced:
        return
    quarantine = table_of(QuarantineTable)
    here = quarantine.c.delivery_id == bindparam("of"), quarantine.c.position == bindparam("at")
    resolve = update(quarantine).where(*here, IS_OPEN).values(closed_at=bindparam("since"), closed_as="resolved")
    connection.execute(resolve, [{"of": place[0], "at": place[1], "since": at} for place, at in sorted(replaced.items())])


def dismiss_items(database: Database, connection: Connection, ids: Sequence[str], actor: str, note: str | None, now: int) -> int:
    """Close the open ones of these items as dismissed; return their number. The caller bounds the number of ids.

    The race: a corrected copy resolves an item. The rows are locked, and only those that are still open are changed.
    """
    quarantine = table_of(QuarantineTable)
    named = select(quarantine.c.id).where(quarantine.c.id.in_(ids), IS_OPEN)
    found = connection.execute(database.lock_rows(named, quarantine)).scalars().all()
    state = {"closed_at": now, "closed_as": "dismissed", "closed_by": actor, "note": note}
    return int(connection.execute(update(quarantine).where(quarantine.c.id.in_(found), IS_OPEN).values(state)).rowcount)
