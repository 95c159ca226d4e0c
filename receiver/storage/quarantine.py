"""The state of quarantined items: a corrected copy resolves them, an operator dismisses them or opens them again."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, or_, select, update

from receiver.storage.database import Database
from receiver.storage.tables.ledger import IS_OPEN, MessageTable, QuarantineTable
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


def reopen_items(database: Database, connection: Connection, ids: Sequence[str]) -> int:
    """Open the dismissed ones of these items again; return their number. The caller bounds the number of ids.

    An item that a corrected copy has replaced stays dismissed. The race: such a copy arrives now. It changes the row of the
    message first and then the open items, so the rows are locked in this order.
    """
    messages, quarantine = table_of(MessageTable), table_of(QuarantineTable)
    wanted = quarantine.c.id.in_(ids), quarantine.c.closed_as == "dismissed"
    of_items = select(messages.c.position).join(quarantine, _is_same_message()).where(*wanted)
    connection.execute(database.lock_rows(of_items, messages))
    found = connection.execute(database.lock_rows(select(quarantine.c.id).where(*wanted), quarantine)).scalars().all()
    is_dismissed = quarantine.c.id.in_(found), quarantine.c.closed_as == "dismissed", ~_is_replaced()
    state = dict.fromkeys(("closed_at", "closed_as", "closed_by", "note"))
    return int(connection.execute(update(quarantine).where(*is_dismissed).values(state)).rowcount)


def _is_replaced() -> ColumnElement[bool]:
    """Tell whether a copy of the item's message counts that is at another place."""
    messages, quarantine = table_of(MessageTable), table_of(QuarantineTable)
    elsewhere = or_(messages.c.delivery_id != quarantine.c.delivery_id, messages.c.position != quarantine.c.position)
    return exists(select(messages.c.position).where(_is_same_message(), elsewhere).correlate(quarantine))


def _is_same_message() -> ColumnElement[bool]:
    messages, quarantine = table_of(MessageTable), table_of(QuarantineTable)
    return and_(messages.c.source == quarantine.c.source, messages.c.message_id == quarantine.c.message_id)
