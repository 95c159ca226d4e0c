"""What was called, by whom, and what we answered."""

import base64
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, and_, select

from receiver.clock import first_id
from receiver.errors import NotFound
from receiver.storage.database import Database
from receiver.storage.queries.pages import Page, public, read_newest
from receiver.storage.tables import (
    NOT_ACCEPTED,
    WITHOUT_EVENTS,
    BodyTable,
    DeliveryTable,
    EventTable,
    MessageTable,
    SightingTable,
    TermTable,
    table_of,
)

_MAX_CARRIED = 2000  # messages of one parcel, and calls that carried one message, that are looked at
_MAX_NAMESAKES = 50  # trackers that share a number


class DeliveryFilter(NamedTuple):
    """Which calls are wanted; all that is set must hold. `since` and `until` in microseconds; `until` itself is not wanted."""

    source: str | None = None
    status: int | None = None
    outcome: str | None = None
    client: str | None = None
    since: int | None = None
    until: int | None = None
    message_id: str | None = None
    tracking_number: str | None = None


class StoredDelivery(NamedTuple):
    """One call as it came and what became of it. `body` and `answer` are None once they are pruned."""

    row: dict[str, Any]
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    answer: bytes | None
    items: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Return it for programs: `body` is the exact text, or None with `body_base64` where the bytes are not UTF-8."""
        answer = orjson.loads(self.answer) if self.answer else None
        return {**self.row, "headers": self.headers, **_as_text(self.body), "answer": answer, "messages": self.items}


def list_deliveries(
    database: Database, wanted: DeliveryFilter, sources: Sequence[str], limit: int = 50, cursor: str | None = None
) -> Page:
    """Return calls, newest first, without their bytes. `sources` are all that there are: ids are looked up by source."""
    table = table_of(DeliveryTable)
    narrow: list[ColumnElement[bool]] = []
    rest = {name: value for name in ("status", "outcome", "client") if (value := getattr(wanted, name)) is not None}
    if wanted.outcome not in {None, "accepted"} or (wanted.status or 0) >= 400:
        narrow.append(and_(NOT_ACCEPTED))
        rest |= {"source": wanted.source} if wanted.source is not None else {}
    elif wanted.source is not None:
        narrow.append(table.c.source == wanted.source)
    if wanted.since is not None:
        narrow.append(table.c.id >= first_id(wanted.since))
    if wanted.until is not None:
        narrow.append(table.c.id < first_id(wanted.until))
    with database.read() as connection:
        if wanted.message_id is not None:
            narrow.append(table.c.id.in_(_carriers(connection, sources, [wanted.message_id])))
        if wanted.tracking_number is not None:
            messages = _messages_of(connection, wanted.tracking_number)
            narrow.append(table.c.id.in_(_carriers(connection, sources, messages)))
        return read_newest(connection, table, [*table.columns], narrow, rest, cursor, limit)


def show_delivery(database: Database, delivery_id: str) -> StoredDelivery:
    """Return one call whole. Raises NotFound."""
    deliveries, bodies = table_of(DeliveryTable), table_of(BodyTable)
    with database.read() as connection:
        row = connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).mappings().first()
        if row is None:
            raise NotFound(f"There is no delivery {delivery_id}.")
        stored = connection.execute(select(bodies).where(bodies.c.delivery_id == delivery_id)).first()
        items = _items(connection, delivery_id)
    if stored is None:
        return StoredDelivery(public(row), (), None, None, items)
    headers = tuple((name, value) for name, value in orjson.loads(stored.headers))
    return StoredDelivery(public(row), headers, bytes(stored.body), bytes(stored.answer), items)


def _as_text(body: bytes | None) -> dict[str, str | None]:
    try:
        return {"body": None if body is None else body.decode(), "body_base64": None}
    except UnicodeDecodeError:
        return {"body": None, "body_base64": base64.b64encode(body or b"").decode()}


def _items(connection: Connection, delivery_id: str) -> list[dict[str, Any]]:
    """Return the verdicts of a call, in body order; `tracker_id` is None for further copies."""
    messages, sightings = table_of(MessageTable), table_of(SightingTable)
    names = ("position", "message_id", "outcome", "reason")
    first = select(*(messages.c[name] for name in (*names, "tracker_id"))).where(messages.c.delivery_id == delivery_id)
    again = select(*(sightings.c[name] for name in names)).where(sightings.c.delivery_id == delivery_id)
    found = [dict(row) for row in connection.execute(first).mappings()]
    found += [{**row, "tracker_id": None} for row in connection.execute(again).mappings()]
    return sorted(found, key=lambda item: int(item["position"]))


def _carriers(connection: Connection, sources: Sequence[str], message_ids: Iterable[str]) -> list[str]:
    """Return the calls that carried one of these messages, the last ones if there are very many."""
    found: set[str] = set()
    for table in (table_of(MessageTable), table_of(SightingTable)):
        carried = table.c.source.in_(sources), table.c.message_id.in_(list(message_ids))
        found.update(connection.execute(select(table.c.delivery_id).where(*carried)).scalars())
    return sorted(found)[-_MAX_CARRIED:]


def _messages_of(connection: Connection, tracking_number: str) -> set[str]:
    """Return the messages that told of a parcel: those with events of their own are found by these."""
    terms, events, messages = table_of(TermTable), table_of(EventTable), table_of(MessageTable)
    named = select(terms.c.source, terms.c.tracker_id).where(terms.c.term == tracking_number.casefold()).limit(_MAX_NAMESAKES)
    found: set[str] = set()
    for row in connection.execute(named).all():
        of = select(events.c.message_id).where(events.c.source == row.source, events.c.tracker_id == row.tracker_id)
        found.update(connection.execute(of.order_by(events.c.received_at.desc()).limit(_MAX_CARRIED)).scalars())
        without = WITHOUT_EVENTS, messages.c.source == row.source, messages.c.tracker_id == row.tracker_id
        found.update(connection.execute(select(messages.c.message_id).where(*without).limit(_MAX_CARRIED)).scalars())
    return found
