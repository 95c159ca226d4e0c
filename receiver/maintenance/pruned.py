"""The history of deliveries whose bodies were pruned: they cannot be decided again, so a rebuild takes over their rows."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import sqlalchemy
from sqlalchemy import Connection, select

from receiver.domain.batch import BatchState
from receiver.domain.rows import ChangeRow, EventRow, MessageRow, QuarantineRow, RepeatedMessageRow, TrackerRow
from receiver.domain.tracker_state import advance, make_change_row, stop_at_no_event
from receiver.storage.statements import chunks, columns_of
from receiver.storage.tables.ledger import EventTable, MessageTable, QuarantineTable, RepeatedMessageTable, TrackerTable
from receiver.storage.tables.metadata import Table, table_of
from receiver.storage.tables.revisions import SUPERSEDED, ChangeTable

_K = TypeVar("_K")
_KEYS = 1000  # in one statement
_SNAPSHOT = (
    *("tracking_number", "client_tracker_id", "shipment_reference"),
    *("shipment", "shipment_milestone", "shipment_moves", "snapshot_generated_at", "snapshot_message_id"),
)
_NO_STATE = {name: default for name, default in TrackerRow._field_defaults.items() if name not in {"moved_at", *_SNAPSHOT}}


class PrunedHistory(NamedTuple):
    """The stored rows of some deliveries, by delivery id; events and changes by source and message id.

    `events` include superseded ones. `changes` belong to messages whose revision moved a tracker back. `trackers` have their
    final state.
    """

    messages: dict[str, list[MessageRow]]
    repeated: dict[str, list[RepeatedMessageRow]]
    quarantined: dict[str, list[QuarantineRow]]
    events: dict[tuple[str, str], list[EventRow]]
    changes: dict[tuple[str, str], list[ChangeRow]]
    trackers: dict[tuple[str, str], TrackerRow]

    def positions(self, delivery_id: str) -> set[int]:
        """Return the positions of a delivery's stored items."""
        found = {row.position for row in self.messages.get(delivery_id, ())}
        found |= {row.position for row in self.repeated.get(delivery_id, ())}
        return found | {row.position for row in self.quarantined.get(delivery_id, ())}

    def message_keys(self) -> dict[tuple[str, str], set[str]]:
        """Return the keys of the messages, with their digests."""
        return _gather((row[:2], row.digest) for row in chain.from_iterable(self.messages.values()))

    def contents(self) -> dict[tuple[str, str, str], set[str]]:
        """Return the keys of the events, with the digests of their versions."""
        return _gather((row[:3], row.digest) for row in chain.from_iterable(self.events.values()))


def read_history(connection: Connection, delivery_ids: Collection[str]) -> PrunedHistory:
    """Return the history of these deliveries."""
    messages: dict[str, list[MessageRow]] = {}
    for row in _of_deliveries(connection, MessageTable, delivery_ids):
        messages.setdefault(row.delivery_id, []).append(MessageRow(*row))
    repeated: dict[str, list[RepeatedMessageRow]] = {}
    for row in _of_deliveries(connection, RepeatedMessageTable, delivery_ids):
        repeated.setdefault(row.delivery_id, []).append(RepeatedMessageRow(*row))
    quarantined: dict[str, list[QuarantineRow]] = {}
    for row in _of_deliveries(connection, QuarantineTable, delivery_ids):
        quarantined.setdefault(row.delivery_id, []).append(QuarantineRow(*row))
    stored = list(chain.from_iterable(messages.values()))
    events, changes = _read_events(connection, stored), _read_changes(connection, stored)
    return PrunedHistory(messages, repeated, quarantined, events, changes, _read_trackers(connection, stored))


def take_over(batch_state: BatchState, history: PrunedHistory, delivery_id: str, position: int | None = None) -> None:
    """Add the history of a delivery, or of its item at `position`, to the batch, in the order of its changes."""

    def is_wanted(row: MessageRow | RepeatedMessageRow | QuarantineRow) -> bool:
        return position is None or row.position == position

    for message in filter(is_wanted, history.messages.get(delivery_id, ())):
        key = (message.source, message.message_id)
        known = batch_state.messages.known.get(key)
        partly = any(row.position == message.position for row in history.quarantined.get(delivery_id, ()))
        if known is None:
            batch_state.messages.add(message, partly=partly)
        elif known.delivery_id != message.delivery_id and (known.outcome == "quarantined" or key in batch_state.messages.partly):
            # a corrected message: its earlier copy still has a body and is decided
            batch_state.repeated.append(batch_state.messages.repair(known, message, partly=partly))
        else:
            continue
        if message.tracker_id is not None:
            _take_tracker(batch_state, history, (message.source, message.tracker_id))
        for event in history.events.get(key, ()):
            _take_event(batch_state, event)
        for change in history.changes.get(key, ()):
            _take_change(batch_state, change)
    batch_state.repeated += filter(is_wanted, history.repeated.get(delivery_id, ()))
    batch_state.quarantined += filter(is_wanted, history.quarantined.get(delivery_id, ()))


def _take_tracker(batch_state: BatchState, history: PrunedHistory, key: tuple[str, str]) -> None:
    """Add a tracker with its final names and shipment block, which no older snapshot can replace."""
    final, before = history.trackers.get(key), batch_state.trackers.get(key)
    if final is None:
        return
    if before is None:
        batch_state.put_tracker(key, None, final._replace(version=1, moved_at=final.created_at, **_NO_STATE))
    elif before.snapshot_message_id != final.snapshot_message_id:
        batch_state.put_tracker(key, before, before._replace(**{name: getattr(final, name) for name in _SNAPSHOT}))


def _take_event(batch_state: BatchState, event: EventRow) -> None:
    key, timelines = (event.source, event.tracker_id), batch_state.timelines
    current = timelines.current.get(event[:3])
    if key not in batch_state.trackers or (current is not None and current.digest == event.digest):
        return
    if event.reason == "superseded":
        timelines.supersede(event)
        return
    if current is None:
        timelines.add(event)
    else:
        old = timelines.replace(event)
        batch_state.change_rows += [] if old.change_id is None else [make_change_row(old)]
    if event.outcome == "applied":
        before = batch_state.trackers[key]
        batch_state.put_tracker(key, before, advance(before, event, event.received_at, max(before.moves, event.move or 0)))


def _take_change(batch_state: BatchState, change: ChangeRow) -> None:
    """Move a tracker back to an event, or to none, as it moved when a later event was taken back."""
    key = (change.source, change.tracker_id)
    before, event = batch_state.trackers.get(key), batch_state.timelines.timeline(key).get(change.event_id)
    if before is None:
        return
    batch_state.change_rows.append(change)
    if event is None and change.event_id:  # it was taken back, or it comes later
        return
    after = stop_at_no_event(before, change.received_at) if event is None else advance(before, event, change.received_at, 0)
    batch_state.put_tracker(key, before, after._replace(moves=change.move))


def _of_deliveries(connection: Connection, model: type[Table], delivery_ids: Collection[str]) -> Sequence[Any]:
    table = table_of(model)
    rows = select(table).where(table.c.delivery_id.in_(delivery_ids)).order_by(table.c.delivery_id, table.c.position)
    return connection.execute(rows).all()


def _read_events(connection: Connection, messages: Sequence[MessageRow]) -> dict[tuple[str, str], list[EventRow]]:
    found: dict[tuple[str, str], list[EventRow]] = {}
    for table in (SUPERSEDED, table_of(EventTable)):
        for row in _of_messages(connection, table, "message_id", messages):
            found.setdefault((row.source, row.message_id), []).append(EventRow(*row))
    for rows in found.values():
        rows.sort(key=lambda row: (row.move is None, row.move, row.event_id))
    return found


def _read_changes(connection: Connection, messages: Sequence[MessageRow]) -> dict[tuple[str, str], list[ChangeRow]]:
    found: dict[tuple[str, str], list[ChangeRow]] = {}
    for row in _of_messages(connection, table_of(ChangeTable), "cause", messages):
        found.setdefault((row.source, row.cause), []).append(ChangeRow(*row))
    for rows in found.values():
        rows.sort(key=lambda row: row.move)
    return found


def _of_messages(connection: Connection, table: sqlalchemy.Table, name: str, messages: Sequence[MessageRow]) -> Iterator[Any]:
    """Yield the rows of the messages' trackers that name one of the messages in this column."""
    for source in sorted({row.source for row in messages}):
        for some in chunks([row for row in messages if row.source == source and row.tracker_id is not None], _KEYS):
            trackers, ids = {row.tracker_id for row in some}, {row.message_id for row in some}
            named = table.c.source == source, table.c.tracker_id.in_(trackers), table.c[name].in_(ids)
            yield from connection.execute(select(table).where(*named))


def _gather(pairs: Iterable[tuple[_K, str]]) -> dict[_K, set[str]]:
    found: dict[_K, set[str]] = {}
    for key, digest in pairs:
        found.setdefault(key, set()).add(digest)
    return found


def _read_trackers(connection: Connection, messages: Sequence[MessageRow]) -> dict[tuple[str, str], TrackerRow]:
    table, found = table_of(TrackerTable), dict[tuple[str, str], TrackerRow]()
    for source in sorted({row.source for row in messages}):
        ids = {row.tracker_id for row in messages if row.source == source and row.tracker_id is not None}
        for some in chunks(sorted(ids), _KEYS):
            rows = select(*columns_of(table, TrackerRow)).where(table.c.source == source, table.c.tracker_id.in_(some))
            for row in connection.execute(rows):
                found[source, row.tracker_id] = TrackerRow(*row)
    return found
