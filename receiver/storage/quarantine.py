"""The state of quarantined items: a corrected copy resolves them, an operator dismisses them."""

from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, update

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
