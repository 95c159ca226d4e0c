"""The stored rows of a delivery's items, to decide them again."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from sqlalchemy import Connection, select, update

from receiver.domain.batch_messages import name_anonymous
from receiver.domain.erasure import BLANK
from receiver.domain.records import Message
from receiver.domain.replays import Item
from receiver.domain.rows import DeliveryRow, MessageRow, QuarantineRow, RepeatedMessageRow
from receiver.domain.undecidable import UNDECIDABLE
from receiver.domain.verdicts import OUTCOMES, Verdict
from receiver.errors import AlreadyRunning, NotFound, UnexpectedShape
from receiver.storage.database import Database
from receiver.storage.faults import LostRace
from receiver.storage.stored_bodies import read_body
from receiver.storage.stored_deliveries import PRUNED, fingerprint
from receiver.storage.tables.ledger import DeliveryTable, MessageTable, QuarantineTable, RepeatedMessageTable
from receiver.storage.tables.metadata import table_of

Decisions: TypeAlias = dict[int, tuple[str | None, Verdict]]
"""The id and the verdict of each item that was decided, by its position."""


class StoredItems(NamedTuple):
    """The stored rows of a delivery's items, by position: messages, repeated messages, and the quarantine."""

    messages: dict[int, MessageRow]
    repeated: dict[int, RepeatedMessageRow]
    parts: dict[int, list[QuarantineRow]]

    def is_open(self, message: Message, *, force: bool, retry: bool) -> bool:
        """Tell whether to decide an item. An erased one, and one that something fails on again, keeps its verdict.

        A copy that a later one has replaced is decided only with `force`: otherwise it could replace the later one.
        """
        position = message.position
        stored, seen = self.messages.get(position), self.repeated.get(position)
        is_known = stored is not None or seen is not None
        if is_known and (message.raw == BLANK or message.quarantine_reason == UNDECIDABLE):
            return False
        if stored is not None:
            return (force or retry) and (stored.outcome == "quarantined" or position in self.parts)
        return seen is None or (seen.outcome == "quarantined" and (force or seen.message_id is None))

    def name(self, message: Message) -> Message:
        """Return a message with its stored id, if it has none of its own."""
        stored = self.messages.get(message.position)
        return message if stored is None or not message.is_anonymous else name_anonymous(message, stored.message_id)


def lock_delivery(
    connection: Connection, database: Database, delivery_id: str, as_read: str | None, *, needs_body: bool = True
) -> DeliveryRow:
    """Return the delivery's row, locked: of two replays, the second one sees what the first one did.

    Raises NotFound, UnexpectedShape (there is no body), BodyDamaged, or AlreadyRunning (the body is another one than `as_read`).
    """
    deliveries = table_of(DeliveryTable)
    wanted = select(deliveries).where(deliveries.c.id == delivery_id)
    row = connection.execute(database.lock_rows(wanted, deliveries)).first()
    if row is None:
        raise NotFound(f"There is no delivery {delivery_id}.")
    stored = read_body(connection, delivery_id)
    if stored is None and needs_body:
        raise UnexpectedShape(PRUNED)
    if as_read not in (None, fingerprint(b"" if stored is None else stored.body)):
        raise AlreadyRunning("This delivery was changed just now. Try again.")
    return DeliveryRow(*row)


def read_items(connection: Connection, delivery_id: str) -> StoredItems:
    """Return the stored rows of a delivery's items."""
    messages, repeated, quarantine = table_of(MessageTable), table_of(RepeatedMessageTable), table_of(QuarantineTable)
    rows = connection.execute(select(messages).where(messages.c.delivery_id == delivery_id))
    stored = {row.position: MessageRow(*row) for row in rows}
    rows = connection.execute(select(repeated).where(repeated.c.delivery_id == delivery_id))
    seen = {row.position: RepeatedMessageRow(*row) for row in rows}
    parts: dict[int, list[QuarantineRow]] = {}
    rows = connection.execute(select(quarantine).where(quarantine.c.delivery_id == delivery_id))
    for row in rows:
        parts.setdefault(row.position, []).append(QuarantineRow(*row)._replace(raw=bytes(row.raw)))
    return StoredItems(stored, seen, parts)


def compare_items(items: StoredItems, decided: Decisions) -> tuple[Item, ...]:
    """Return the verdicts of all items before and after."""
    rows: list[MessageRow | RepeatedMessageRow] = [*items.messages.values(), *items.repeated.values()]
    before: Decisions = {row.position: (row.message_id, Verdict(row.outcome, row.reason)) for row in rows}
    after = before | decided
    return tuple(
        [
            Item(position, after[position][0], before.get(position, (None, None))[1], after[position][1])
            for position in sorted(after)
        ]
    )


def change_message(connection: Connection, stored: MessageRow, **values: str | None) -> None:
    """Update the row of a message. Raises LostRace if a repaired copy has replaced it since it was read."""
    messages = table_of(MessageTable)
    same = (messages.c[name] == getattr(stored, name) for name in ("source", "message_id", "delivery_id", "position", "outcome"))
    if connection.execute(update(messages).where(*same).values(values)).rowcount != 1:
        raise LostRace


def write_counts(connection: Connection, row: DeliveryRow, items: Sequence[Item]) -> None:
    """Update the counts in the delivery's row; the answer stays as it was sent."""
    counts = Counter(item.after.outcome for item in items)
    values = {"received": len(items), **{outcome: counts[outcome] for outcome in OUTCOMES}}
    if any(getattr(row, name) != number for name, number in values.items()):
        deliveries = table_of(DeliveryTable)
        connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(values))
