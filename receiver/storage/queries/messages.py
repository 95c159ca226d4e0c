"""What is known of one message: its verdict, its events, every call that carried it."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, func, select

from receiver.errors import NotFound
from receiver.storage.database import Database
from receiver.storage.queries.pages import Page, public, read_newest
from receiver.storage.tables import (
    DeliveryTable,
    EventTable,
    MessageTable,
    QuarantineTable,
    SightingTable,
    TrackerTable,
    table_of,
)

_MAX_CALLS = 200
_SHOWN_BYTES = 4000
_OF_CALL = ("received_at", "client", "peer", "token", "note", "kind", "status", "outcome")
_OF_RIVAL = ("event_id", "message_id", "occurrence", "order", "status", "received_at")


def show_message(database: Database, message_id: str, sources: Sequence[str]) -> dict[str, Any]:
    """Return a message: verdict, events of its own with what they lost against, quarantined parts, calls (oldest first).

    Raises NotFound.
    """
    with database.read() as connection:
        message = _find(connection, table_of(MessageTable), message_id, sources).first()
        again = _find(connection, table_of(SightingTable), message_id, sources).all()
        if message is None and not again:
            raise NotFound(f"No message {message_id} was kept.")
        kept = {**(message or {"topic": None, "tracker_id": None, **again[0]})}
        sightings = [] if message is None else [message]
        answer = {name: kept[name] for name in ("source", "message_id", "tracker_id", "topic", "outcome", "reason")}
        return {
            **answer,
            "tracking_number": _read_number(connection, kept["source"], kept["tracker_id"]),
            **{name: public(message or again[0])[name] for name in ("received_at", "delivery_id", "position")},
            "events": _read_events(connection, kept["source"], kept["tracker_id"], message_id),
            "quarantined": _read_quarantined(connection, [*sightings, *again]),
            "deliveries": _read_calls(connection, [*sightings, *again]),
        }


def find_events(database: Database, source: str, tracker_id: str, event_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the events of a tracker that are known by these ids."""
    events = table_of(EventTable)
    of_tracker = events.c.source == source, events.c.tracker_id == tracker_id
    with database.read() as connection:
        rows = connection.execute(select(events).where(*of_tracker, events.c.event_id.in_(event_ids))).mappings()
        return {row["event_id"]: public(row) for row in rows}


def list_quarantine(
    database: Database, source: str | None = None, reason: str | None = None, limit: int = 50, cursor: str | None = None
) -> Page:
    """Return what was set apart, newest first, with the beginning of its content as text."""
    table = table_of(QuarantineTable)
    columns: list[ColumnElement[Any]] = [column for column in table.columns if column.name != "raw"]
    columns += [func.length(table.c.raw).label("raw_bytes"), func.substr(table.c.raw, 1, _SHOWN_BYTES).label("raw")]
    rest = {name: value for name, value in (("source", source), ("reason", reason)) if value is not None}
    with database.read() as connection:
        page = read_newest(connection, table, columns, [], rest, cursor, limit)
    return Page([{**item, "raw": bytes(item["raw"]).decode("utf-8", "replace")} for item in page.items], page.next)


def _find(connection: Connection, table: Table, message_id: str, sources: Sequence[str]) -> Any:
    wanted = table.c.source.in_(sources), table.c.message_id == message_id
    return connection.execute(select(table).where(*wanted).order_by(table.c.delivery_id).limit(_MAX_CALLS)).mappings()


def _read_number(connection: Connection, source: str, tracker_id: str | None) -> str | None:
    trackers = table_of(TrackerTable)
    wanted = trackers.c.source == source, trackers.c.tracker_id == tracker_id
    return connection.execute(select(trackers.c.tracking_number).where(*wanted)).scalar()


def _read_events(connection: Connection, source: str, tracker_id: str | None, message_id: str) -> list[dict[str, Any]]:
    events = table_of(EventTable)
    of_tracker = events.c.source == source, events.c.tracker_id == tracker_id
    rows = connection.execute(select(events).where(*of_tracker, events.c.message_id == message_id)).mappings().all()
    against = {row["against"] for row in rows if row["against"] is not None}
    columns = [events.c[name] for name in _OF_RIVAL]
    rivals = connection.execute(select(*columns).where(*of_tracker, events.c.event_id.in_(against))).mappings()
    known = {row["event_id"]: public(row) for row in rivals}
    return [{**public(row), "against": known.get(row["against"])} for row in rows]


def _read_quarantined(connection: Connection, carried: Iterable[RowMapping]) -> list[dict[str, Any]]:
    quarantine = table_of(QuarantineTable)
    names = ("id", "delivery_id", "position", "event_position", "reason", "detail", "received_at")
    columns = [quarantine.c[name] for name in names]
    places = {(row["delivery_id"], row["position"]) for row in carried}
    of_calls = quarantine.c.delivery_id.in_({delivery_id for delivery_id, _ in places})
    rows = connection.execute(select(*columns).where(of_calls).order_by(quarantine.c.id)).mappings()
    return [public(row) for row in rows if (row["delivery_id"], row["position"]) in places]


def _read_calls(connection: Connection, carried: Sequence[RowMapping]) -> list[dict[str, Any]]:
    deliveries = table_of(DeliveryTable)
    columns = [deliveries.c[name] for name in ("id", *_OF_CALL)]
    ids = {row["delivery_id"] for row in carried}
    rows = connection.execute(select(*columns).where(deliveries.c.id.in_(ids))).mappings()
    calls = {row["id"]: public(row) for row in rows}
    found = []
    for row in sorted(carried, key=lambda item: (item["delivery_id"], item["position"])):
        call = calls.get(row["delivery_id"], {})
        verdict = {name: row[name] for name in ("delivery_id", "position", "outcome", "reason")}
        found.append({**verdict, "call": {name: call.get(name) for name in _OF_CALL}})
    return found
