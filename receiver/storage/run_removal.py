"""Removal of tests: their trackers with all that belongs to these, then their deliveries, in transactions of bounded size.

Their identities go too: the ids of a test are made up, and no real message has them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, delete, exists, func, select

from receiver.domain.tracker_state import search_terms_of
from receiver.storage.completions import Completions, lock_completions
from receiver.storage.database import Database
from receiver.storage.statements import is_one_of
from receiver.storage.stranded import list_names
from receiver.storage.tables.ledger import (
    IS_TEST,
    BodyTable,
    DeliveryTable,
    EventTable,
    LinkTable,
    MessageTable,
    QuarantineTable,
    RepeatedMessageTable,
    SearchTermTable,
    TrackerTable,
)
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import DeadTable, DeliveredTable, DispatchTable
from receiver.storage.tables.revisions import SUPERSEDED, ChangeTable, ShipmentChangeTable

_TRACKERS = 100  # in one transaction
_DELIVERIES = 50  # the same; each has up to some hundred messages

_OF_TARGETS = (DispatchTable, DeadTable, DeliveredTable)
_OF_TRACKER = (EventTable, ChangeTable, ShipmentChangeTable)
_NAMES = ("tracker_id", "tracking_number", "client_tracker_id", "shipment_reference")
_OF_DELIVERY = (MessageTable, RepeatedMessageTable, QuarantineTable, BodyTable)


class RemovedTests(NamedTuple):
    """The number of deliveries and trackers of tests that were, or would be, removed."""

    deliveries: int = 0
    trackers: int = 0

    def add(self, other: "RemovedTests") -> "RemovedTests":
        """Return the sums."""
        return RemovedTests(self.deliveries + other.deliveries, self.trackers + other.trackers)


def count_tests(database: Database, run: str | None) -> RemovedTests:
    """Return how much `remove_tests` would remove of a run (None: of all tests)."""
    deliveries, trackers = table_of(DeliveryTable), table_of(TrackerTable)
    counted = (
        select(func.count()).select_from(deliveries).where(*_of_run(deliveries, run), ~_has_real_tracker(deliveries)),
        select(func.count()).select_from(trackers).where(*_of_run(trackers, run)),
    )
    with database.read() as connection:
        return RemovedTests(*(int(connection.execute(statement).scalar_one()) for statement in counted))


def remove_tests(connection: Connection, database: Database, run: str | None) -> RemovedTests:
    """Remove some trackers of a run (None: of all tests), or, if there are none, some of its deliveries. (0, 0): nothing is left.

    A delivery stays if one of its trackers has become a real one: its timeline names the messages of the delivery.

    The race: a message of the test arrives meanwhile. The trackers are locked first, as deliveries lock them: a tracker that is
    removed before a delivery reads it is made again, and one that was read before is not removed until that is committed.
    """
    trackers = table_of(TrackerTable)
    names = [trackers.c[name] for name in ("source", *_NAMES)]
    lock_completions(connection, database)
    some = select(*names).where(*_of_run(trackers, run)).order_by(*names[:2]).limit(_TRACKERS)
    found = connection.execute(database.lock_rows(some, trackers)).mappings().all()
    if found:
        _remove_trackers(connection, database, found)
        return RemovedTests(trackers=len(found))
    deliveries = table_of(DeliveryTable)
    gone = select(deliveries.c.id).where(*_of_run(deliveries, run), ~_has_real_tracker(deliveries)).order_by(deliveries.c.id)
    ids = list(connection.execute(gone.limit(_DELIVERIES)).scalars())
    for model in _OF_DELIVERY:
        table = table_of(model)
        connection.execute(delete(table).where(table.c.delivery_id.in_(ids)))
    connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))
    return RemovedTests(deliveries=len(ids))


def _of_run(table: Table, run: str | None) -> list[ColumnElement[bool]]:
    """Return the conditions that a partial index answers."""
    return [and_(IS_TEST), *([] if run is None else [table.c.test_run == run])]


def _has_real_tracker(deliveries: Table) -> ColumnElement[bool]:
    messages, trackers = table_of(MessageTable), table_of(TrackerTable)
    named = trackers.c.source == messages.c.source, trackers.c.tracker_id == messages.c.tracker_id
    real = messages.c.delivery_id == deliveries.c.id, trackers.c.test_run.is_(None)
    return exists(select(messages.c.message_id).join(trackers, and_(*named)).where(*real).correlate(deliveries))


def _remove_trackers(connection: Connection, database: Database, rows: Sequence[RowMapping]) -> None:
    """Remove trackers and what belongs to them, each table by its key."""
    keys = [(row["source"], row["tracker_id"]) for row in rows]
    for changes in [table_of(model) for model in _OF_TARGETS]:
        for target in list(list_names(connection, changes)):
            _remove(connection, changes, "tracker_id", keys, changes.c.target == target)
    for table in (SUPERSEDED, *[table_of(model) for model in _OF_TRACKER]):
        _remove(connection, table, "tracker_id", keys)
    _remove_links(connection, database, keys)
    terms = table_of(SearchTermTable)
    named = {term for row, key in zip(rows, keys, strict=True) for term in search_terms_of(key, [row[name] for name in _NAMES])}
    connection.execute(delete(terms).where(is_one_of((terms.c.term, terms.c.source, terms.c.tracker_id), sorted(named))))
    _remove(connection, table_of(TrackerTable), "tracker_id", keys)


def _remove_links(connection: Connection, database: Database, keys: Sequence[tuple[str, str]]) -> None:
    """Remove the links of these trackers. A package that stays, because it became a real one, is in no manifest then."""
    links = table_of(LinkTable)
    of_manifests = is_one_of((links.c.source, links.c.manifest), keys)
    packages = [(row.source, row.package) for row in connection.execute(select(links).where(of_manifests))]
    for side in ("package", "manifest"):
        _remove(connection, links, side, keys)
    Completions(database).mark_packages(connection, packages)


def _remove(connection: Connection, table: Table, name: str, keys: Sequence[tuple[str, str]], *of: ColumnElement[bool]) -> None:
    connection.execute(delete(table).where(*of, is_one_of((table.c.source, table.c[name]), keys)))
