"""Messages and deliveries by their id or, where the id is a UUID, by its beginning."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select

from receiver.errors import Ambiguous
from receiver.storage.database import Database
from receiver.storage.queries.pages import as_stored, is_storable, public
from receiver.storage.tables.ledger import DeliveryTable, MessageTable
from receiver.storage.tables.metadata import table_of

_UUID = "00000000-0000-0000-0000-000000000000"
_MIN_CHARACTERS = 6  # of a beginning: shorter ones match far too many
_MAX_NAMED = 10
_OF_MESSAGE = ("source", "message_id", "tracker_id", "outcome", "reason", "delivery_id", "position", "received_at")


def span_uuids(beginning: str) -> tuple[str, str] | None:
    """Return the first and the last UUID that start with a text, in lower case; None if none does or the text is too short.

    Both have the length and the hyphens of a UUID, so that every collation sorts the UUIDs between them in the same way.
    """
    start = beginning.lower()
    if not _MIN_CHARACTERS <= len(start) <= len(_UUID):
        return None
    if any(own not in ("-" if place == "-" else "0123456789abcdef") for own, place in zip(start, _UUID, strict=False)):
        return None
    rest = _UUID[len(start) :]
    return start + rest, start + rest.replace("0", "f")


def find_deliveries(database: Database, text: str, limit: int, *, is_whole: bool = False) -> list[dict[str, Any]]:
    """Return the deliveries whose id starts with a text of at least six characters, newest first, without their bytes.

    With `is_whole`, return only the delivery with this id.
    """
    span = span_uuids(text)
    if span is None or (is_whole and span[0] != span[1]):
        return []
    table = table_of(DeliveryTable)
    named = select(table).where(table.c.id >= span[0], table.c.id <= span[1]).order_by(table.c.id.desc()).limit(limit)
    with database.read() as connection:
        return [public(row) for row in connection.execute(named).mappings()]


def complete_delivery_id(database: Database, text: str) -> str:
    """Return the id of the only delivery whose id starts with a text, or the text if there is none. Raises Ambiguous."""
    found = [row["id"] for row in find_deliveries(database, text, _MAX_NAMED)]
    if len(found) > 1:
        raise Ambiguous.among(text, "deliveries", found)
    return found[0] if found else text


def find_messages(database: Database, message_id: str, sources: Sequence[str], limit: int) -> list[dict[str, Any]]:
    """Return the messages with this id, as typed or in one case."""
    if not is_storable(message_id):
        return []
    table = table_of(MessageTable)
    message_id = as_stored(message_id)
    named = table.c.source.in_(sources), table.c.message_id.in_({message_id, message_id.lower(), message_id.upper()})
    with database.read() as connection:
        return [public(row) for row in connection.execute(select(*_columns()).where(*named).limit(limit)).mappings()]


def find_starting_messages(database: Database, text: str, sources: Sequence[str], limit: int) -> list[dict[str, Any]]:
    """Return the messages whose id is a UUID that starts with a text of at least six characters.

    Among texts there may be other ids in the span of these UUIDs.
    """
    span = span_uuids(text)
    if span is None:
        return []
    table = table_of(MessageTable)
    found: list[dict[str, Any]] = []
    with database.read() as connection:
        for source in sources:
            between = table.c.source == source, table.c.message_id >= span[0], table.c.message_id <= span[1]
            starts = [] if database.packs_ids else [func.substr(table.c.message_id, 1, len(text)) == text.lower()]
            rows = select(*_columns()).where(*between, *starts).order_by(table.c.message_id).limit(limit)
            found += [public(row) for row in connection.execute(rows).mappings()]
    return found


def _columns() -> list[ColumnElement[Any]]:
    return [table_of(MessageTable).c[name] for name in _OF_MESSAGE]
