"""Calls whose bodies are gone cannot be decided again: what they made is taken over as it stands on record."""

from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from receiver.decide import Bench
from receiver.rows import EventRow, MessageRow, QuarantineRow, SightingRow, TrackerRow
from receiver.states import advance
from receiver.storage.statements import chunks
from receiver.storage.tables import (
    EventTable,
    MessageTable,
    QuarantineTable,
    SightingTable,
    Table,
    TrackerTable,
    table_of,
)

_KEYS = 1000  # named in one statement

_SNAPSHOT = (
    *("tracking_number", "client_tracker_id", "shipment_reference"),
    *("shipment", "snapshot_generated_at", "snapshot_message_id"),
)
_NO_STATE = {name: TrackerRow._field_defaults[name] for name in TrackerRow._field_defaults if name != "moved_at"}


class Legacy(NamedTuple):
    """All that some calls made, by the calls' ids; `events` by the messages that told them, `trackers` as they are in the end."""

    messages: dict[str, list[MessageRow]]
    sightings: dict[str, list[SightingRow]]
    apart: dict[str, list[QuarantineRow]]
    events: dict[tuple[str, str], list[EventRow]]
    trackers: dict[tuple[str, str], TrackerRow]

    def positions(self, delivery_id: str) -> set[int]:
        """Return the positions of a delivery's items that are on record."""
        found = {row.position for row in self.messages.get(delivery_id, ())}
        found |= {row.position for row in self.sightings.get(delivery_id, ())}
        return found | {row.position for row in self.apart.get(delivery_id, ())}

    def message_keys(self) -> set[tuple[str, str]]:
        """Return the keys of its messages."""
        return {(row.source, row.message_id) for row in chain.from_iterable(self.messages.values())}

    def event_keys(self) -> set[tuple[str, str, str]]:
        """Return the keys of its events."""
        return {row[:3] for row in chain.from_iterable(self.events.values())}


def read_legacy(connection: Connection, delivery_ids: Collection[str]) -> Legacy:
    """Return what these calls made."""
    messages: dict[str, list[MessageRow]] = {}
    for row in _of_calls(connection, MessageTable, delivery_ids):
        messages.setdefault(row.delivery_id, []).append(MessageRow(*row))
    sightings: dict[str, list[SightingRow]] = {}
    for row in _of_calls(connection, SightingTable, delivery_ids):
        sightings.setdefault(row.delivery_id, []).append(SightingRow(*row))
    apart: dict[str, list[QuarantineRow]] = {}
    for row in _of_calls(connection, QuarantineTable, delivery_ids):
        apart.setdefault(row.delivery_id, []).append(QuarantineRow(*row))
    kept = list(chain.from_iterable(messages.values()))
    return Legacy(messages, sightings, apart, _read_events(connection, kept), _read_trackers(connection, kept))


def take_over(bench: Bench, legacy: Legacy, delivery_id: str, position: int | None = None) -> None:
    """Put what a delivery, or one item of it, made on the bench, in the order in which it moved its trackers."""

    def is_meant(row: MessageRow | SightingRow | QuarantineRow) -> bool:
        return position is None or row.position == position

    for message in filter(is_meant, legacy.messages.get(delivery_id, ())):
        if (message.source, message.message_id) in bench.messages:
            continue
        bench.messages[message.source, message.message_id] = message.digest
        bench.new_messages.append(message)
        if message.tracker_id is not None:
            _take_tracker(bench, legacy, (message.source, message.tracker_id))
        for event in legacy.events.get((message.source, message.message_id), ()):
            _take_event(bench, event)
    bench.sightings += filter(is_meant, legacy.sightings.get(delivery_id, ()))
    bench.quarantined += filter(is_meant, legacy.apart.get(delivery_id, ()))


def _take_tracker(bench: Bench, legacy: Legacy, key: tuple[str, str]) -> None:
    """Let the tracker be known with its names and shipment as they are in the end: no older snapshot can replace them."""
    final, before = legacy.trackers.get(key), bench.trackers.get(key)
    if final is None:
        return
    if before is None:
        bench.move(key, None, final._replace(version=1, moved_at=final.created_at, **_NO_STATE))
    elif before.snapshot_message_id != final.snapshot_message_id:
        bench.move(key, before, before._replace(**{name: getattr(final, name) for name in _SNAPSHOT}))


def _take_event(bench: Bench, event: EventRow) -> None:
    key = (event.source, event.tracker_id)
    if event[:3] in bench.events or key not in bench.trackers:
        return
    bench.events[event[:3]] = event.digest
    bench.new_events.append(event)
    if event.outcome == "applied":
        bench.move(key, bench.trackers[key], advance(bench.trackers[key], event))


def _of_calls(connection: Connection, model: type[Table], delivery_ids: Collection[str]) -> Sequence[Any]:
    table = table_of(model)
    rows = select(table).where(table.c.delivery_id.in_(delivery_ids)).order_by(table.c.delivery_id, table.c.position)
    return connection.execute(rows).all()


def _read_events(connection: Connection, messages: Sequence[MessageRow]) -> dict[tuple[str, str], list[EventRow]]:
    table, found = table_of(EventTable), dict[tuple[str, str], list[EventRow]]()
    for source in sorted({row.source for row in messages}):
        for told in chunks([row for row in messages if row.source == source and row.tracker_id is not None], _KEYS):
            trackers, ids = {row.tracker_id for row in told}, {row.message_id for row in told}
            named = table.c.source == source, table.c.tracker_id.in_(trackers), table.c.message_id.in_(ids)
            for row in connection.execute(select(table).where(*named).order_by(table.c.move, table.c.event_id)):
                found.setdefault((source, row.message_id), []).append(EventRow(*row))
    return found


def _read_trackers(connection: Connection, messages: Sequence[MessageRow]) -> dict[tuple[str, str], TrackerRow]:
    table, found = table_of(TrackerTable), dict[tuple[str, str], TrackerRow]()
    for source in sorted({row.source for row in messages}):
        ids = {row.tracker_id for row in messages if row.source == source and row.tracker_id is not None}
        for some in chunks(sorted(ids), _KEYS):
            for row in connection.execute(select(table).where(table.c.source == source, table.c.tracker_id.in_(some))):
                found[source, row.tracker_id] = TrackerRow(*row)
    return found
