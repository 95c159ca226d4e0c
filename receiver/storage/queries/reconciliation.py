"""What is known here of Ship24's trackers, for a comparison with the vendor, and the stored reconciliations of all sources."""

from collections.abc import Collection, Iterable

import orjson
from sqlalchemy import ColumnElement, and_, func, or_, select

from receiver.clock import first_id
from receiver.domain.reading import read_id, read_object
from receiver.domain.rows import ReconciliationRow
from receiver.errors import NotFound
from receiver.storage.database import Database
from receiver.storage.queries.pages import is_storable
from receiver.storage.queries.states import FINAL_MILESTONES
from receiver.storage.tables.ledger import IS_BROUGHT_IN, DeliveryTable, EventTable, MessageTable, QuarantineTable, TrackerTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import AuditTable
from receiver.storage.tables.recovery import ReconciliationTable

_SOURCE = "ship24"
_SILENT_MICROS = 90 * 24 * 3600 * 1_000_000  # the vendor stops tracking a parcel long before
_LATE_MICROS = 24 * 3600 * 1_000_000  # messages come in any order: one may be late when the parcel has arrived
_MAX_QUARANTINED = 1000  # of one tracker
_ERASED = "forget"  # the action in the audit log


def list_candidates(database: Database, since: int | None, after: str, limit: int) -> list[str]:
    """Return ids of trackers after `after`, in order: with `since`, those that may have lost a message since then."""
    trackers = table_of(TrackerTable)
    statement = select(trackers.c.tracker_id).where(*_conditions(since), trackers.c.tracker_id > after)
    with database.read() as connection:
        return list(connection.execute(statement.order_by(trackers.c.tracker_id).limit(limit)).scalars())


def count_candidates(database: Database, since: int | None) -> int:
    """Return the number of these trackers."""
    with database.read() as connection:
        return int(
            connection.execute(select(func.count(table_of(TrackerTable).c.tracker_id)).where(*_conditions(since))).scalar_one()
        )


def find_known_trackers(database: Database, tracker_ids: Collection[str]) -> set[str]:
    """Return those of the trackers that are stored here."""
    trackers = table_of(TrackerTable)
    statement = select(trackers.c.tracker_id).where(trackers.c.source == _SOURCE, trackers.c.tracker_id.in_(tracker_ids))
    with database.read() as connection:
        return set(connection.execute(statement).scalars())


def find_known_messages(database: Database, message_ids: Collection[str], source: str = _SOURCE) -> set[str]:
    """Return those of the messages that are stored here, whatever became of them."""
    messages = table_of(MessageTable)
    statement = select(messages.c.message_id).where(messages.c.source == source, messages.c.message_id.in_(message_ids))
    with database.read() as connection:
        return set(connection.execute(statement).scalars())


def find_known_events(database: Database, tracker_id: str) -> set[str]:
    """Return the ids of the events of a tracker that have arrived, also those in quarantine."""
    events, quarantine = table_of(EventTable), table_of(QuarantineTable)
    stored = select(events.c.event_id).where(events.c.source == _SOURCE, events.c.tracker_id == tracker_id)
    held = select(quarantine.c.raw).where(quarantine.c.source == _SOURCE, quarantine.c.tracker_id == tracker_id)
    with database.read() as connection:
        known = set(connection.execute(stored).scalars())
        return known | set(_read_event_ids(connection.execute(held.limit(_MAX_QUARANTINED)).scalars()))


def find_erased_trackers(database: Database, source: str = _SOURCE) -> frozenset[str]:
    """Return the ids of the trackers of a source whose personal data was erased: it must not come back."""
    audit = table_of(AuditTable)
    with database.read() as connection:
        subjects = connection.execute(select(audit.c.subject).where(audit.c.action == _ERASED)).scalars().all()
    return frozenset(tracker_id for name, _, tracker_id in (text.partition("/") for text in subjects) if name == source)


def count_found(database: Database, since: int, limit: int) -> int:
    """Return the number of Ship24's deliveries that reconciliation brought in since then, at most `limit`."""
    deliveries = table_of(DeliveryTable)
    is_found = deliveries.c.source == _SOURCE, deliveries.c.origin == "reconcile", deliveries.c.id >= first_id(since)
    found = select(deliveries.c.id).where(IS_BROUGHT_IN, *is_found)
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(found.limit(limit).subquery())).scalar_one())


def list_reconciliations(database: Database, limit: int = 20) -> list[ReconciliationRow]:
    """Return the last reconciliations, the newest first."""
    table = table_of(ReconciliationTable)
    with database.read() as connection:
        rows = connection.execute(select(table).order_by(table.c.began_at.desc(), table.c.id.desc()).limit(limit))
        return [ReconciliationRow(*row) for row in rows]


def find_reconciliation(database: Database, run_id: str) -> ReconciliationRow:
    """Return a reconciliation. Raises NotFound."""
    table = table_of(ReconciliationTable)
    if is_storable(run_id):
        with database.read() as connection:
            row = connection.execute(select(table).where(table.c.id == run_id)).first()
        if row is not None:
            return ReconciliationRow(*row)
    raise NotFound("There is no reconciliation with this id. The last 200 are kept.")


def find_unfinished_reconciliation(database: Database, source: str, request: str, since: int) -> ReconciliationRow | None:
    """Return the last reconciliation with this request if it began after `since` and is not complete."""
    table = table_of(ReconciliationTable)
    same = table.c.source == source, table.c.request == request, table.c.began_at >= since
    with database.read() as connection:
        row = connection.execute(select(table).where(*same).order_by(table.c.began_at.desc(), table.c.id.desc()).limit(1)).first()
    found = None if row is None else ReconciliationRow(*row)
    return None if found is None or found.ended_at is not None else found


def _conditions(since: int | None) -> list[ColumnElement[bool]]:
    trackers = table_of(TrackerTable)
    found = [trackers.c.source == _SOURCE, trackers.c.test_run.is_(None)]
    if since is not None:
        goes_on = or_(trackers.c.status_milestone.is_(None), trackers.c.status_milestone.not_in(FINAL_MILESTONES))
        found.append(
            or_(trackers.c.moved_at >= since - _LATE_MICROS, and_(goes_on, trackers.c.moved_at >= since - _SILENT_MICROS))
        )
    return found


def _read_event_ids(parts: Iterable[bytes]) -> Iterable[str]:
    """Yield the ids of events in quarantined bytes: those of a whole message, or of one event."""
    for raw in parts:
        try:
            content = read_object(orjson.loads(raw))
        except orjson.JSONDecodeError:  # erased or pruned
            continue
        events = content.get("events")
        for event in events if isinstance(events, list) else [content]:
            if (name := read_id(read_object(event).get("eventId"))) is not None:
                yield name
