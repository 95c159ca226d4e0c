"""What is known of one message: its verdict, its events, every call that carried it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select

from receiver.errors import NotFound
from receiver.storage.database import Database
from receiver.storage.queries.pages import ResultPage, is_keepable, public, read_newest
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
_SHOWN_BYTES = 4000
_OF_CALL = ("received_at", "client", "peer", "token", "note", "kind", "status", "outcome")
_OF_RIVAL = ("event_id", "message_id", "occurrence", "order", "status", "received_at")


def show_message(database: Database, message_id: str, sources: Sequence[str]) -> dict[str, Any]:
    """Return a message: verdict, events of its own with what they lost against, quarantined parts, calls (oldest first).

    Where two sources use the same id: the message that came first. Raises NotFound.
    """
    messages = table_of(MessageTable)
    named = messages.c.source.in_(sources), messages.c.message_id == message_id
    if not is_keepable(message_id):
        raise NotFound("No message with this id was kept.")
    with database.read() as connection:
        kept = connection.execute(select(messages).where(*named).order_by(messages.c.delivery_id).limit(1)).mappings().first()
        if kept is None:
            raise NotFound(f"No message {message_id} was kept.")
        return {
            **{name: kept[name] for name in ("source", "message_id", "tracker_id", "topic", "outcome", "reason")},
            "tracking_number": _read_number(connection, kept),
            **{name: public(kept)[name] for name in ("received_at", "delivery_id", "position")},
            "events": _read_events(connection, kept),
            "quarantined": _read_quarantined(connection, kept),
            "deliveries": _read_calls(connection, [kept, *_read_copies(connection, kept)]),
        }


def find_events(database: Database, source: str, tracker_id: str, digests: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the events of a tracker that are known by these ids; `differs` tells whether their content is another than given."""
    events = every_version()
    named = events.c.source == source, events.c.tracker_id == tracker_id, events.c.event_id.in_(list(digests))
    with database.read() as connection:
        rows = connection.execute(select(events).where(*named).order_by(events.c.superseded.desc())).mappings().all()
    best: dict[str, RowMapping] = {}
    for row in rows:  # the version with this content; else the one that stands
        known = best.get(row["event_id"])
        if known is None or known["digest"] != digests[row["event_id"]]:
            best[row["event_id"]] = row
    return {event_id: {**public(row), "differs": row["digest"] != digests[event_id]} for event_id, row in best.items()}


def list_quarantine(
    database: Database, source: str | None = None, reason: str | None = None, limit: int = 50, cursor: str | None = None
) -> ResultPage:
    """Return what was set apart, newest first, with the beginning of its content as text."""
    table = table_of(QuarantineTable)
    columns: list[ColumnElement[Any]] = [column for column in table.columns if column.name != "raw"]
    columns += [func.length(table.c.raw).label("raw_bytes"), func.substr(table.c.raw, 1, _SHOWN_BYTES).label("raw")]
    narrow = [] if reason is None else [table.c.reason == reason]
    rest = {} if source is None else {"source": source}
    if not is_keepable(source, reason):
        return ResultPage([], None)
    with database.read() as connection:
        page = read_newest(connection, table, columns, narrow, rest, cursor, limit)
    return ResultPage([{**item, "raw": _read_beginning(item["raw"])} for item in page.items], page.next)


def _read_beginning(raw: bytes | None) -> str:
    return bytes(raw or b"").decode("utf-8", "replace")  # SQLite cuts a part of nothing to NULL


def _read_copies(connection: Connection, kept: RowMapping) -> Sequence[RowMapping]:
    sightings = table_of(RepeatedMessageTable)
    named = sightings.c.source == kept["source"], sightings.c.message_id == kept["message_id"]
    copies = select(sightings).where(*named).order_by(sightings.c.delivery_id, sightings.c.position)
    return connection.execute(copies.limit(_MAX_COPIES)).mappings().all()


def _read_number(connection: Connection, kept: RowMapping) -> str | None:
    trackers = table_of(TrackerTable)
    wanted = trackers.c.source == kept["source"], trackers.c.tracker_id == kept["tracker_id"]
    return connection.execute(select(trackers.c.tracking_number).where(*wanted)).scalar()


def _read_events(connection: Connection, kept: RowMapping) -> list[dict[str, Any]]:
    events, standing = every_version(), table_of(EventTable)
    of_tracker = events.c.source == kept["source"], events.c.tracker_id == kept["tracker_id"]
    own = select(events).where(*of_tracker, events.c.message_id == kept["message_id"]).limit(_MAX_PARTS)
    rows = connection.execute(own).mappings().all()
    against = {row["against"] for row in rows if row["against"] is not None}
    columns = [standing.c[name] for name in _OF_RIVAL]
    of_same = standing.c.source == kept["source"], standing.c.tracker_id == kept["tracker_id"]
    rivals = connection.execute(select(*columns).where(*of_same, standing.c.event_id.in_(against))).mappings()
    known = {row["event_id"]: public(row) for row in rivals}
    return [{**public(row), "against": known.get(row["against"])} for row in rows]


def _read_quarantined(connection: Connection, kept: RowMapping) -> list[dict[str, Any]]:
    quarantine = table_of(QuarantineTable)
    names = ("id", "delivery_id", "position", "event_position", "reason", "detail", "received_at")
    place = quarantine.c.delivery_id == kept["delivery_id"], quarantine.c.position == kept["position"]
    columns = [quarantine.c[name] for name in names]
    rows = connection.execute(select(*columns).where(*place).order_by(quarantine.c.event_position).limit(_MAX_PARTS)).mappings()
    return [public(row) for row in rows]


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
