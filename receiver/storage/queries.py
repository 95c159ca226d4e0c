"""What operators ask. Reads only; the API, the console and the command line all read through here.

Answers are plain values for JSON: times of ours as ISO 8601 UTC, a courier's as written.
"""

from collections.abc import Sequence
from functools import cmp_to_key
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Table, and_, or_, select

from receiver.clock import iso
from receiver.errors import NotFound
from receiver.occurrence import Moment, compare, read_occurrence
from receiver.storage.database import Database
from receiver.storage.tables import (
    BodyTable,
    DeliveryTable,
    EventTable,
    LinkTable,
    MessageTable,
    SetupWindowTable,
    SightingTable,
    TermTable,
    TokenUseTable,
    TrackerTable,
    table_of,
)

_INTERNAL = {"version", "digest", "latest_digest", "snapshot_generated_at", "snapshot_message_id"}


class StoredDelivery(NamedTuple):
    """One call as it came and what became of it. `body` and `answer` are None once they are pruned."""

    row: dict[str, Any]
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    answer: bytes | None
    items: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Return it for programs; a body that is not UTF-8 has its other bytes replaced, `--body` writes them all."""
        body = None if self.body is None else self.body.decode("utf-8", "replace")
        answer = None if self.answer is None else orjson.loads(self.answer)
        return {**self.row, "headers": self.headers, "body": body, "answer": answer, "messages": self.items}


def setup_windows(database: Database) -> dict[str, int]:
    """Return until when each source's setup window is open, in microseconds; closed ones stay listed."""
    table = table_of(SetupWindowTable)
    with database.read() as connection:
        return {row.source: row.closes_at for row in connection.execute(select(table.c.source, table.c.closes_at))}


def token_uses(database: Database) -> dict[tuple[str, str], int]:
    """Return when each token, by source and name, last let a call in, in microseconds, to the minute."""
    table = table_of(TokenUseTable)
    with database.read() as connection:
        return {(row.source, row.token): row.last_used_at for row in connection.execute(select(table))}


def list_trackers(
    database: Database,
    *,
    search: str | None = None,
    source: str | None = None,
    milestone: str | None = None,
    limit: int = 50,
    exact: bool = False,
) -> list[dict[str, Any]]:
    """Return trackers, last moved first. `search` is the beginning (or the whole) of a number, an id or a reference, without
    case.
    """
    table = table_of(TrackerTable)
    statement = select(table).order_by(table.c.applied_at.desc().nulls_last(), table.c.tracker_id).limit(limit)
    if source is not None:
        statement = statement.where(table.c.source == source)
    if milestone is not None:
        statement = statement.where(table.c.status_milestone == milestone)
    if search is not None:
        statement = _match(statement, table, search.casefold(), exact=exact)
    with database.read() as connection:
        return [_public(row) for row in connection.execute(statement).mappings()]


def show_tracker(database: Database, source: str, tracker_id: str) -> dict[str, Any]:
    """Return a tracker and its events, newest occurrence first. Raises NotFound."""
    trackers, events = table_of(TrackerTable), table_of(EventTable)
    with database.read() as connection:
        state = connection.execute(select(trackers).where(_is(trackers, source, tracker_id))).mappings().first()
        if state is None:
            raise NotFound(f"There is no tracker {tracker_id} of {source}.")
        timeline = connection.execute(select(events).where(_is(events, source, tracker_id))).mappings().all()
        manifest, packages = _linked(connection, source, tracker_id)
    shipment = orjson.loads(state["shipment"]) if state["shipment"] else None
    tracker = {**_public(state), "shipment": shipment, "manifest": manifest, "packages": packages}
    return {"tracker": tracker, "events": [_public(row) for row in _newest_first(timeline)]}


def list_deliveries(
    database: Database,
    *,
    source: str | None = None,
    outcome: str | None = None,
    status: int | None = None,
    message_id: str | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Return calls, newest first, without their bytes."""
    table = table_of(DeliveryTable)
    statement = select(table).order_by(table.c.id.desc()).limit(limit)
    for column, value in ((table.c.source, source), (table.c.outcome, outcome), (table.c.status, status)):
        if value is not None:
            statement = statement.where(column == value)
    if message_id is not None:
        carriers = [
            select(carrier.c.delivery_id).where(carrier.c.message_id == message_id)
            for carrier in (table_of(MessageTable), table_of(SightingTable))
        ]
        statement = statement.where(or_(*(table.c.id.in_(carrier) for carrier in carriers)))
    with database.read() as connection:
        return [_public(row) for row in connection.execute(statement).mappings()]


def show_delivery(database: Database, delivery_id: str) -> StoredDelivery:
    """Return one call whole. Raises NotFound."""
    deliveries, bodies = table_of(DeliveryTable), table_of(BodyTable)
    with database.read() as connection:
        row = connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).mappings().first()
        if row is None:
            raise NotFound(f"There is no delivery {delivery_id}.")
        stored = connection.execute(select(bodies).where(bodies.c.delivery_id == delivery_id)).first()
        items = _items(connection, delivery_id)
    if stored is None:
        return StoredDelivery(_public(row), (), None, None, items)
    headers = tuple((name, value) for name, value in orjson.loads(stored.headers))
    return StoredDelivery(_public(row), headers, bytes(stored.body), bytes(stored.answer), items)


def _linked(connection: Connection, source: str, tracker_id: str) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the manifest that a package travels with (None: none is known), and a manifest's packages."""
    links, trackers = table_of(LinkTable), table_of(TrackerTable)
    latest = select(links.c.manifest).where(links.c.source == source, links.c.package == tracker_id)
    manifest_id = connection.execute(latest).scalar()
    travelling = select(links.c.package).where(links.c.source == source, links.c.manifest == tracker_id)
    packages = [str(package) for package in connection.execute(travelling.order_by(links.c.package)).scalars()]
    if manifest_id is None:
        return None, packages
    names = ("tracker_id", "tracking_number", "status", "latest_occurrence", "applied_at")
    columns = [trackers.c[name] for name in names]
    row = connection.execute(select(*columns).where(_is(trackers, source, manifest_id))).mappings().first()
    return (_public(row) if row is not None else {"tracker_id": manifest_id, "status": None}), packages


def _items(connection: Connection, delivery_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for table in (table_of(MessageTable), table_of(SightingTable)):
        columns = [table.c[name] for name in ("position", "message_id", "outcome", "reason")]
        statement = select(*columns).where(table.c.delivery_id == delivery_id)
        found += [dict(row) for row in connection.execute(statement).mappings()]
    return sorted(found, key=lambda item: int(item["position"]))


def _match(statement: Select[Any], table: Table, term: str, *, exact: bool) -> Select[Any]:
    """Keep the trackers with a term that is `term` or begins with it: a range of the terms' primary key."""
    terms = table_of(TermTable)
    matches = terms.c.term == term if exact else and_(terms.c.term >= term, terms.c.term < term + "\U0010ffff")
    found = select(terms.c.source, terms.c.tracker_id).where(matches).distinct().subquery()
    return statement.where(table.c.source == found.c.source, table.c.tracker_id == found.c.tracker_id)


def _is(table: Table, source: str, tracker_id: str) -> ColumnElement[bool]:
    return and_(table.c.source == source, table.c.tracker_id == tracker_id)


def _newest_first(events: Sequence[RowMapping]) -> list[RowMapping]:
    """Sort as the verdicts do; what arrived last stands first where those see no difference."""

    def moment(row: RowMapping) -> Moment:
        return Moment(read_occurrence(row["occurrence"]), row["order"])

    def newer_first(one: RowMapping, other: RowMapping) -> int:
        return compare(moment(other), moment(one))

    by_arrival: list[RowMapping] = sorted(events, key=lambda row: (row["received_at"], row["event_id"]), reverse=True)
    return sorted(by_arrival, key=cmp_to_key(newer_first))


def _public(row: RowMapping) -> dict[str, Any]:
    return {
        name: iso(value) if name.endswith("_at") and value is not None else value
        for name, value in row.items()
        if name not in _INTERNAL and name != "shipment"
    }
