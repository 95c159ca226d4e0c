"""What is known here of Shiipp's packages and manifests, for a comparison with an export."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, and_, or_, select

from receiver.domain.records import WEBHOOK
from receiver.storage.database import Database
from receiver.storage.queries.states import PACKAGE_SOURCE
from receiver.storage.tables.ledger import DeliveryTable, MessageTable, SearchTermTable, TrackerTable
from receiver.storage.tables.metadata import table_of


class KnownPackage(NamedTuple):
    """A package that is stored here. `is_brought_in`: its latest message did not come from Shiipp itself."""

    tracker_id: str
    number: str | None
    created_at: int
    is_brought_in: bool


class KnownManifest(NamedTuple):
    """A manifest that is stored here, with its latest status."""

    tracker_id: str
    number: str | None
    status: str | None


def find_packages(database: Database, tracker_ids: Collection[str], numbers: Collection[str]) -> list[KnownPackage]:
    """Return the packages with one of these ids, or with one of these tracking numbers in any case."""
    trackers, messages, deliveries = table_of(TrackerTable), table_of(MessageTable), table_of(DeliveryTable)
    is_message = and_(messages.c.source == trackers.c.source, messages.c.message_id == trackers.c.latest_message_id)
    joined = trackers.outerjoin(messages, is_message).outerjoin(deliveries, deliveries.c.id == messages.c.delivery_id)
    columns = trackers.c.tracker_id, trackers.c.tracking_number, trackers.c.created_at, deliveries.c.origin
    statement = select(*columns).select_from(joined).where(*_are("package"), _is_named(tracker_ids, numbers))
    with database.read() as connection:
        rows = connection.execute(statement).all()
    return [KnownPackage(row[0], row[1], row[2], row[3] not in {None, WEBHOOK}) for row in rows]


def find_manifests(database: Database, tracker_ids: Collection[str], numbers: Collection[str]) -> list[KnownManifest]:
    """Return the manifests with one of these ids, or with one of these numbers in any case; the latest is the last one."""
    trackers = table_of(TrackerTable)
    columns = trackers.c.tracker_id, trackers.c.tracking_number, trackers.c.status
    statement = select(*columns).where(*_are("manifest"), _is_named(tracker_ids, numbers)).order_by(trackers.c.moved_at)
    with database.read() as connection:
        return [KnownManifest(*row) for row in connection.execute(statement)]


def list_packages_between(database: Database, since: int, until: int, after: str, limit: int) -> list[str]:
    """Return ids of packages that became known between two times (both included), after `after`, in order."""
    trackers = table_of(TrackerTable)
    within = trackers.c.created_at >= since, trackers.c.created_at <= until, trackers.c.tracker_id > after
    statement = select(trackers.c.tracker_id).where(*_are("package"), *within).order_by(trackers.c.tracker_id).limit(limit)
    with database.read() as connection:
        return list(connection.execute(statement).scalars())


def find_last_package(database: Database) -> str | None:
    """Return the id of the package in the last new message that Shiipp itself sent; None if it sent none."""
    messages, deliveries = table_of(MessageTable), table_of(DeliveryTable)
    joined = deliveries.join(messages, messages.c.delivery_id == deliveries.c.id)
    sent = deliveries.c.source == PACKAGE_SOURCE, deliveries.c.origin == WEBHOOK, deliveries.c.test_run.is_(None)
    is_package = deliveries.c.kind == "new-package", messages.c.tracker_id.is_not(None)
    statement = select(messages.c.tracker_id).select_from(joined).where(*sent, *is_package)
    with database.read() as connection:
        return connection.execute(statement.order_by(deliveries.c.id.desc()).limit(1)).scalar()


def _are(subject: str) -> tuple[ColumnElement[bool], ...]:
    trackers = table_of(TrackerTable)
    return trackers.c.source == PACKAGE_SOURCE, trackers.c.subject == subject, trackers.c.test_run.is_(None)


def _is_named(tracker_ids: Collection[str], numbers: Collection[str]) -> ColumnElement[bool]:
    trackers = table_of(TrackerTable)
    named = trackers.c.tracker_id.in_(tracker_ids)
    return or_(named, trackers.c.tracker_id.in_(_with_numbers(numbers))) if numbers else named


def _with_numbers(numbers: Collection[str]) -> Select[tuple[str]]:
    terms = table_of(SearchTermTable)
    wanted = terms.c.term.in_(sorted({number.casefold() for number in numbers}))
    return select(terms.c.tracker_id).where(wanted, terms.c.source == PACKAGE_SOURCE)
