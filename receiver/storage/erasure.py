"""Forgetting in storage: where a tracker's personal data may be, and what removes it from there.

It is looked for beside the writer, as long as that takes, and removed call by call in transactions of their own.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, delete, select, union, update

from receiver.domain.erasure import Erasure, ErasureSubject, ReadItems, StoredBody, StoredPart, plan_erasure
from receiver.errors import NotFound
from receiver.storage.database import Database
from receiver.storage.faults import LostRace
from receiver.storage.queries.pages import is_keepable
from receiver.storage.tables.ledger import (
    NOT_ACCEPTED,
    WITHOUT_EVENTS,
    BodyTable,
    DeliveryTable,
    EventTable,
    LinkTable,
    MessageTable,
    QuarantineTable,
    RepeatedMessageTable,
    TrackerTable,
)
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import DeadTable, DispatchTable
from receiver.storage.tables.revisions import SUPERSEDED

FORGOTTEN = "(forgotten)"


class Trail(NamedTuple):
    """Where a tracker may have left something: calls, with the places that the record knows; changes with an error, by target.

    What may have been kept under no tracker's name, or under another's, is among the calls without a place.
    """

    tracked: ErasureSubject
    calls: dict[str, frozenset[int]]
    failures: tuple[tuple[str, int], ...]


def follow_trail(database: Database, source: str, tracker_id: str) -> Trail:
    """Find where to look. Raises NotFound if nothing is known of the tracker."""
    trackers, links = table_of(TrackerTable), table_of(LinkTable)
    if not is_keepable(source, tracker_id):
        raise NotFound("There is no tracker with this id.")
    known = select(trackers.c.tracking_number).where(trackers.c.source == source, trackers.c.tracker_id == tracker_id)
    with database.read() as connection:
        number = connection.execute(known).first()
        calls: dict[str, set[int]] = defaultdict(set)
        for delivery_id, place in _read_places(connection, source, tracker_id):
            calls[delivery_id].add(place)
        if number is None and not calls:
            raise NotFound(f"There is no tracker {tracker_id} of {source}.")
        manifests = select(links.c.manifest).where(links.c.source == source, links.c.package == tracker_id)
        for manifest in connection.execute(manifests).scalars().all():
            for delivery_id, _ in _read_places(connection, source, manifest):
                calls[delivery_id].update()
        for delivery_id in connection.execute(_suspects(source)).scalars():
            calls[delivery_id].update()
        failures = tuple(_read_failures(connection, source, tracker_id))
    names = (tracker_id, *(number or ()))
    tracked = ErasureSubject(source, tracker_id, tuple(name for name in names if name))
    return Trail(tracked, {delivery_id: frozenset(calls[delivery_id]) for delivery_id in sorted(calls)}, failures)


def plan_call(
    database: Database, tracked: ErasureSubject, splits: Mapping[str, ReadItems], delivery_id: str, places: frozenset[int]
) -> tuple[StoredBody, Erasure] | None:
    """Return a delivery as it was read, and what has to be done to it. `splits` read bodies of the tracker's source by kind."""
    with database.read() as connection:
        call = _read_call(connection, delivery_id, places)
    erasure = plan_erasure(tracked, call, splits.get(call.kind))
    return None if erasure is None else (call, erasure)


def _read_call(connection: Connection, delivery_id: str, places: frozenset[int]) -> StoredBody:
    deliveries, bodies, quarantine = table_of(DeliveryTable), table_of(BodyTable), table_of(QuarantineTable)
    stored = select(deliveries.c.kind, bodies.c.body).where(deliveries.c.id == delivery_id)
    stored = stored.select_from(deliveries).outerjoin(bodies, bodies.c.delivery_id == deliveries.c.id)
    columns = (quarantine.c[name] for name in StoredPart._fields)
    row = connection.execute(stored).first()
    parts = connection.execute(select(*columns).where(quarantine.c.delivery_id == delivery_id).order_by(quarantine.c.id)).all()
    body = None if row is None or row.body is None else bytes(row.body)
    kept = tuple(StoredPart(part.id, part.position, part.tracker_id, bytes(part.raw)) for part in parts)
    return StoredBody(delivery_id, "" if row is None else row.kind, body, places, kept)


def forget_tracker(connection: Connection, source: str, tracker_id: str, failures: tuple[tuple[str, int], ...]) -> None:
    """Remove what stands beside a tracker's state, and the words of errors about its changes."""
    trackers = table_of(TrackerTable)
    connection.execute(
        update(trackers).where(trackers.c.source == source, trackers.c.tracker_id == tracker_id).values(shipment=None)
    )
    for table in (table_of(DispatchTable), table_of(DeadTable)):
        for target, move in failures:
            ours = table.c.target == target, table.c.source == source, table.c.tracker_id == tracker_id, table.c.move == move
            connection.execute(update(table).where(*ours).values(error=FORGOTTEN))


def erase(connection: Connection, database: Database, call: StoredBody, erasure: Erasure) -> bool:
    """Do to a delivery what was planned, if it is still as it was read; return whether it was.

    The race: two erasures read the same body, and the one that writes last would restore whom the other has erased. Or a replay
    writes what it read to quarantine. All of them lock the row of the delivery; who is second finds that it has changed.
    """
    deliveries, bodies, quarantine = table_of(DeliveryTable), table_of(BodyTable), table_of(QuarantineTable)
    row = select(deliveries.c.id).where(deliveries.c.id == erasure.delivery_id)
    connection.execute(database.lock_rows(row, deliveries))
    if _read_call(connection, erasure.delivery_id, call.places) != call:
        return False
    as_read = bodies.c.delivery_id == erasure.delivery_id, bodies.c.body == call.body
    if erasure.removed:
        written = connection.execute(delete(bodies).where(*as_read)).rowcount
    elif erasure.body is not None:
        written = connection.execute(update(bodies).where(*as_read).values(body=erasure.body)).rowcount
    else:
        written = 1
    if not written:  # pruned meanwhile
        raise LostRace
    if erasure.parts:
        connection.execute(update(quarantine).where(quarantine.c.id.in_(erasure.parts)).values(raw=b""))
    return True


def _read_places(connection: Connection, source: str, tracker_id: str) -> Iterator[tuple[str, int]]:
    """Give the calls that carried a tracker, with the place of the item: its messages, their copies, what was set apart."""
    events, messages, quarantine = table_of(EventTable), table_of(MessageTable), table_of(QuarantineTable)
    own = select(events.c.message_id).where(events.c.source == source, events.c.tracker_id == tracker_id)
    rest = select(messages.c.message_id).where(messages.c.source == source, messages.c.tracker_id == tracker_id, WITHOUT_EVENTS)
    superseded = select(SUPERSEDED.c.message_id).where(SUPERSEDED.c.source == source, SUPERSEDED.c.tracker_id == tracker_id)
    told = union(own, superseded, rest)
    for table in (messages, table_of(RepeatedMessageTable)):
        carried = select(table.c.delivery_id, table.c.position).where(table.c.source == source, table.c.message_id.in_(told))
        yield from (tuple(row) for row in connection.execute(carried))
    apart = select(quarantine.c.delivery_id, quarantine.c.position)
    found = connection.execute(apart.where(quarantine.c.source == source, quarantine.c.tracker_id == tracker_id))
    yield from (tuple(row) for row in found)


def _suspects(source: str) -> Any:
    """Select the calls in which anything may stand: unreadable ones, items without a tracker, copies with other content."""
    deliveries, quarantine, sightings = table_of(DeliveryTable), table_of(QuarantineTable), table_of(RepeatedMessageTable)
    unreadable = select(deliveries.c.id).where(NOT_ACCEPTED, deliveries.c.source == source, deliveries.c.body_bytes > 0)
    nameless = select(quarantine.c.delivery_id).where(quarantine.c.source == source, quarantine.c.tracker_id.is_(None))
    other = select(sightings.c.delivery_id).where(sightings.c.source == source, sightings.c.reason == "content_differs")
    return union(unreadable, nameless, other)


def _read_failures(connection: Connection, source: str, tracker_id: str) -> Iterator[tuple[str, int]]:
    for table in (table_of(DispatchTable), table_of(DeadTable)):
        failed: Select[Any] = select(table.c.target, table.c.move).where(
            table.c.source == source, table.c.tracker_id == tracker_id, table.c.error.is_not(None)
        )
        yield from (tuple(row) for row in connection.execute(failed))
