"""Queries for one message with its verdict, events and deliveries."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from receiver.errors import NotFound
from receiver.storage.database import Database
from receiver.storage.queries.pages import as_stored, is_storable, public
from receiver.storage.queries.quarantine import describe_item
from receiver.storage.tables.ledger import (
    DeliveryTable,
    EventTable,
    MessageTable,
    QuarantineTable,
    RepeatedMessageTable,
    TrackerTable,
)
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.revisions import every_version

_MAX_COPIES = 200
_MAX_PARTS = 1000  # events, and quarantined parts, of one message
_OF_DELIVERY = ("received_at", "client", "peer", "token", "note", "kind", "status", "outcome", "origin", "sent_at")
_OF_LATEST = ("event_id", "message_id", "occurrence", "order", "status", "received_at")


def show_message(database: Database, message_id: str, sources: Sequence[str]) -> dict[str, Any]:
    """Return a message: its verdict, its events, its quarantined parts, and its deliveries, oldest first. Raises NotFound.

    Each event has `against`, the event that was its tracker's latest one at the verdict. If two sources use the same id, this is
    the message that arrived first.
    """
    messages = table_of(MessageTable)
    if not is_storable(message_id):
        raise NotFound("There is no message with this id.")
    named = messages.c.source.in_(sources), messages.c.message_id == as_stored(message_id)
    with database.read() as connection:
        row = connection.execute(select(messages).where(*named).order_by(messages.c.delivery_id).limit(1)).mappings().first()
        if row is None:
            raise NotFound(f"There is no message {message_id}.")
        return {
            **{name: row[name] for name in ("source", "message_id", "tracker_id", "topic", "outcome", "reason")},
            "tracking_number": _read_number(connection, row),
            **{name: public(row)[name] for name in ("received_at", "delivery_id", "position")},
            "events": _read_events(connection, row),
            "quarantined": _read_quarantined(connection, row),
            "deliveries": _read_deliveries(connection, [row, *_read_copies(connection, row)]),
        }


def find_events(database: Database, source: str, tracker_id: str, digests: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the stored events of a tracker with these ids. `differs` tells whether the stored content has another digest."""
    events = every_version()
    named = events.c.source == source, events.c.tracker_id == tracker_id, events.c.event_id.in_(list(digests))
    with database.read() as connection:
        rows = connection.execute(select(events).where(*named).order_by(events.c.superseded.desc())).mappings().all()
    best: dict[str, RowMapping] = {}
    for row in rows:  # prefer the version with this content, then the current one
        known = best.get(row["event_id"])
        if known is None or known["digest"] != digests[row["event_id"]]:
            best[row["event_id"]] = row
    return {event_id: {**public(row), "differs": row["digest"] != digests[event_id]} for event_id, row in best.items()}


def _read_copies(connection: Connection, message: RowMapping) -> Sequence[RowMapping]:
    repeated = table_of(RepeatedMessageTable)
    named = repeated.c.source == message["source"], repeated.c.message_id == message["message_id"]
    copies = select(repeated).where(*named).order_by(repeated.c.delivery_id, repeated.c.position)
    return connection.execute(copies.limit(_MAX_COPIES)).mappings().all()


def _read_number(connection: Connection, message: RowMapping) -> str | None:
    trackers = table_of(TrackerTable)
    wanted = trackers.c.source == message["source"], trackers.c.tracker_id == message["tracker_id"]
    return connection.execute(select(trackers.c.tracking_number).where(*wanted)).scalar()


def _read_events(connection: Connection, message: RowMapping) -> list[dict[str, Any]]:
    events, current = every_version(), table_of(EventTable)
    of_tracker = events.c.source == message["source"], events.c.tracker_id == message["tracker_id"]
    own = select(events).where(*of_tracker, events.c.message_id == message["message_id"]).limit(_MAX_PARTS)
    rows = connection.execute(own).mappings().all()
    against = {row["against"] for row in rows if row["against"] is not None}
    columns = [current.c[name] for name in _OF_LATEST]
    of_same = current.c.source == message["source"], current.c.tracker_id == message["tracker_id"]
    latest = connection.execute(select(*columns).where(*of_same, current.c.event_id.in_(against))).mappings()
    known = {row["event_id"]: public(row) for row in latest}
    return [{**public(row), "against": known.get(row["against"])} for row in rows]


def _read_quarantined(connection: Connection, message: RowMapping) -> list[dict[str, Any]]:
    quarantine = table_of(QuarantineTable)
    names = (
        *("id", "delivery_id", "position", "event_position", "reason", "detail", "received_at"),
        *("closed_at", "closed_as", "closed_by", "note"),
    )
    of_item = quarantine.c.delivery_id == message["delivery_id"], quarantine.c.position == message["position"]
    columns = [quarantine.c[name] for name in names]
    rows = connection.execute(select(*columns).where(*of_item).order_by(quarantine.c.event_position).limit(_MAX_PARTS)).mappings()
    return [describe_item(public(row)) for row in rows]


def _read_deliveries(connection: Connection, items: Sequence[RowMapping]) -> list[dict[str, Any]]:
    """Return the verdict of each copy with its delivery."""
    table = table_of(DeliveryTable)
    columns = [table.c[name] for name in ("id", *_OF_DELIVERY)]
    ids = {item["delivery_id"] for item in items}
    rows = connection.execute(select(*columns).where(table.c.id.in_(ids))).mappings()
    deliveries = {row["id"]: public(row) for row in rows}
    found = []
    for item in sorted(items, key=lambda item: (item["delivery_id"], item["position"])):
        delivery = deliveries.get(item["delivery_id"], {})
        verdict = {name: item[name] for name in ("delivery_id", "position", "outcome", "reason")}
        found.append({**verdict, "delivery": {name: delivery.get(name) for name in _OF_DELIVERY}})
    return found
