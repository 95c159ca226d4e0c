"""Erasure in the database: find the personal data of a tracker and remove it.

The search reads beside the writer, however long it takes. The removal is one transaction per delivery.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, delete, select, union, update

from receiver.domain.erasure import Erasure, ErasureSubject, ReadItems, StoredBody, StoredPart, plan_erasure
from receiver.errors import BodyDamaged, NotFound
from receiver.storage.database import Database
from receiver.storage.faults import LostRace
from receiver.storage.queries.pages import is_storable
from receiver.storage.stored_bodies import change_body, read_body
from receiver.storage.tables.ledger import (
    NOT_ACCEPTED,
    WITHOUT_EVENTS,
    BodyTable,
    DeliveryTable,
    EventTable,
    MessageTable,
    QuarantineTable,
    RepeatedMessageTable,
    SearchTermTable,
    TrackerTable,
)
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import DeadTable, DispatchTable
from receiver.storage.tables.revisions import SUPERSEDED

FORGOTTEN = "(forgotten)"

_MANIFESTS = "manifest-status"  # the kind of the deliveries that list packages


class ErasureScope(NamedTuple):
    """The rows that may contain data of a tracker.

    `deliveries` has delivery ids with the known positions of its items. A delivery without a position may contain data under
    another tracker or under none. `failures` are its changes with an error: target and number (`move`).
    """

    subject: ErasureSubject
    deliveries: dict[str, frozenset[int]]
    failures: tuple[tuple[str, int], ...]


def find_scope(database: Database, source: str, tracker_id: str) -> ErasureScope:
    """Return the rows to search. Raises NotFound for an unknown tracker."""
    trackers = table_of(TrackerTable)
    if not is_storable(source, tracker_id):
        raise NotFound("There is no tracker with this id.")
    columns = (trackers.c[name] for name in ("subject", "tracking_number", "client_tracker_id", "shipment_reference"))
    known = select(*columns).where(trackers.c.source == source, trackers.c.tracker_id == tracker_id)
    with database.read() as connection:
        tracker = connection.execute(known).first()
        found: dict[str, set[int]] = defaultdict(set)
        for delivery_id, position in _read_positions(connection, source, tracker_id):
            found[delivery_id].add(position)
        if tracker is None and not found:
            raise NotFound(f"There is no tracker {tracker_id} of {source}.")
        if tracker is None or tracker.subject == "package":
            for delivery_id in connection.execute(_select_manifests(source)).scalars():
                found[delivery_id].update()
        for delivery_id in connection.execute(_select_unknown(source)).scalars():
            found[delivery_id].update()
        failures = tuple(_read_failures(connection, source, tracker_id))
        numbers = _read_numbers(connection, source, tracker_id, tracker) if tracker is not None else ()
    subject = ErasureSubject(source, tracker_id, (tracker_id, *numbers))
    return ErasureScope(subject, {delivery_id: frozenset(found[delivery_id]) for delivery_id in sorted(found)}, failures)


def plan_delivery(
    database: Database, subject: ErasureSubject, splits: Mapping[str, ReadItems], delivery_id: str, positions: frozenset[int]
) -> tuple[StoredBody, Erasure] | None:
    """Return a delivery as it was read and the plan for it, or None if it needs none. `splits` are parsers by kind."""
    with database.read() as connection:
        stored = _read_body(connection, delivery_id, positions)
    erasure = plan_erasure(subject, stored, splits.get(stored.kind))
    return None if erasure is None else (stored, erasure)


def _read_body(connection: Connection, delivery_id: str, positions: frozenset[int]) -> StoredBody:
    deliveries, quarantine = table_of(DeliveryTable), table_of(QuarantineTable)
    columns = (quarantine.c[name] for name in StoredPart._fields)
    kind = connection.execute(select(deliveries.c.kind).where(deliveries.c.id == delivery_id)).scalar()
    is_damaged = False
    try:
        stored = read_body(connection, delivery_id)
    except BodyDamaged:
        stored, is_damaged = None, True
    parts = connection.execute(select(*columns).where(quarantine.c.delivery_id == delivery_id).order_by(quarantine.c.id)).all()
    stored_parts = tuple(StoredPart(part.id, part.position, part.tracker_id, bytes(part.raw)) for part in parts)
    return StoredBody(delivery_id, kind or "", None if stored is None else stored.body, positions, stored_parts, is_damaged)


def forget_tracker(connection: Connection, source: str, tracker_id: str, failures: tuple[tuple[str, int], ...]) -> None:
    """Remove the shipment block of a tracker and the errors of its changes, which may quote content."""
    trackers = table_of(TrackerTable)
    connection.execute(
        update(trackers).where(trackers.c.source == source, trackers.c.tracker_id == tracker_id).values(shipment=None)
    )
    for table in (table_of(DispatchTable), table_of(DeadTable)):
        for target, move in failures:
            ours = table.c.target == target, table.c.source == source, table.c.tracker_id == tracker_id, table.c.move == move
            connection.execute(update(table).where(*ours).values(error=FORGOTTEN))


def erase(connection: Connection, database: Database, as_read: StoredBody, erasure: Erasure) -> bool:
    """Execute an erasure if the delivery is still as it was read; return whether it was.

    The race: two erasures read the same body, and the second one would restore what the first one erased. Or a replay writes the
    content that it read to quarantine. All of them lock the row of the delivery; the second one finds that it has changed.
    """
    deliveries, bodies, quarantine = table_of(DeliveryTable), table_of(BodyTable), table_of(QuarantineTable)
    row = select(deliveries.c.id).where(deliveries.c.id == erasure.delivery_id)
    connection.execute(database.lock_rows(row, deliveries))
    if _read_body(connection, erasure.delivery_id, as_read.positions) != as_read:
        return False
    still_there = True
    if erasure.removed:
        still_there = bool(connection.execute(delete(bodies).where(bodies.c.delivery_id == erasure.delivery_id)).rowcount)
    elif erasure.body is not None:
        still_there = change_body(connection, erasure.delivery_id, body=erasure.body)
    if not still_there:  # pruned meanwhile
        raise LostRace
    if erasure.parts:
        connection.execute(update(quarantine).where(quarantine.c.id.in_(erasure.parts)).values(raw=b""))
    return True


def _read_positions(connection: Connection, source: str, tracker_id: str) -> Iterator[tuple[str, int]]:
    """Yield the deliveries that contain a tracker, with the position of its item: messages, their copies, and the quarantine."""
    events, messages, quarantine = table_of(EventTable), table_of(MessageTable), table_of(QuarantineTable)
    own = select(events.c.message_id).where(events.c.source == source, events.c.tracker_id == tracker_id)
    rest = select(messages.c.message_id).where(messages.c.source == source, messages.c.tracker_id == tracker_id, WITHOUT_EVENTS)
    superseded = select(SUPERSEDED.c.message_id).where(SUPERSEDED.c.source == source, SUPERSEDED.c.tracker_id == tracker_id)
    message_ids = union(own, superseded, rest)
    for table in (messages, table_of(RepeatedMessageTable)):
        carried = select(table.c.delivery_id, table.c.position).where(
            table.c.source == source, table.c.message_id.in_(message_ids)
        )
        yield from (tuple(row) for row in connection.execute(carried))
    parts = select(quarantine.c.delivery_id, quarantine.c.position)
    found = connection.execute(parts.where(quarantine.c.source == source, quarantine.c.tracker_id == tracker_id))
    yield from (tuple(row) for row in found)


def _select_unknown(source: str) -> Any:
    """Select the deliveries with unknown content: unreadable ones, items without a tracker, copies with other content."""
    deliveries, quarantine, repeated = table_of(DeliveryTable), table_of(QuarantineTable), table_of(RepeatedMessageTable)
    unreadable = select(deliveries.c.id).where(NOT_ACCEPTED, deliveries.c.source == source, deliveries.c.body_bytes > 0)
    nameless = select(quarantine.c.delivery_id).where(quarantine.c.source == source, quarantine.c.tracker_id.is_(None))
    other = select(repeated.c.delivery_id).where(repeated.c.source == source, repeated.c.reason == "content_differs")
    return union(unreadable, nameless, other)


def _select_manifests(source: str) -> Any:
    """Select the stored bodies about manifests. A package may be in any of them: only its last manifest is on record."""
    deliveries, bodies = table_of(DeliveryTable), table_of(BodyTable)
    of_manifests = deliveries.c.source == source, deliveries.c.kind == _MANIFESTS
    return select(deliveries.c.id).join(bodies, bodies.c.delivery_id == deliveries.c.id).where(*of_manifests)


def _read_numbers(connection: Connection, source: str, tracker_id: str, tracker: Row[Any]) -> Sequence[str]:
    """Return the tracking numbers of a tracker, its past ones too. Its present references may be those of other trackers."""
    terms = table_of(SearchTermTable)
    own = connection.execute(select(terms.c.term).where(terms.c.source == source, terms.c.tracker_id == tracker_id)).scalars()
    shared = {(text or "").casefold() for text in (tracker.client_tracker_id, tracker.shipment_reference)}
    return [*([tracker.tracking_number] if tracker.tracking_number else ()), *sorted(set(own) - shared)]


def _read_failures(connection: Connection, source: str, tracker_id: str) -> Iterator[tuple[str, int]]:
    for table in (table_of(DispatchTable), table_of(DeadTable)):
        failed: Select[Any] = select(table.c.target, table.c.move).where(
            table.c.source == source, table.c.tracker_id == tracker_id, table.c.error.is_not(None)
        )
        yield from (tuple(row) for row in connection.execute(failed))
