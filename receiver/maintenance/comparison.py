"""The comparison of a rebuilt database with its source."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, func, select

from receiver.storage.database import Database
from receiver.storage.statements import Lookup
from receiver.storage.tables.ledger import (
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
from receiver.storage.tables.revisions import SUPERSEDED, ChangeTable

_COMPARED = (
    *(table_of(model) for model in (DeliveryTable, MessageTable, RepeatedMessageTable, EventTable)),
    SUPERSEDED,
    *(table_of(model) for model in (ChangeTable, TrackerTable, SearchTermTable, LinkTable)),
)
_COUNTED = (table_of(BodyTable), table_of(QuarantineTable))  # only counted: copied unchanged, or with new ids
_NOT_COMPARED = {  # a count of writes, and columns that earlier versions did not write, or wrote differently
    *("version", "change_id", "generated_at", "stands_by", "snapshot_generated_at", "shipment_milestone", "shipment_moves"),
}
_ROWS = 500


class Comparison(NamedTuple):
    """The numbers of rows of a table before and after. `differing` are those missing or different afterwards (None: unknown)."""

    table: str
    before: int
    after: int
    differing: int | None


def compare(source: Connection, target: Database) -> Iterator[Comparison]:
    """Compare the tables that deliveries fill."""
    with target.read() as connection:
        for table in (*_COMPARED, *_COUNTED):
            differing = _count_differing(source, connection, target, table) if table in _COMPARED else None
            yield Comparison(str(table.name), _count(source, table), _count(connection, table), differing)


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _count_differing(source: Connection, connection: Connection, target: Database, table: Table) -> int:
    keys = list(table.primary_key.columns)
    columns = [
        *keys,
        *(column for column in table.columns if not column.primary_key and column.name not in _NOT_COMPARED),
    ]
    lookup, differing = Lookup(target, table, columns), 0
    options: Any = {"stream_results": True, "yield_per": _ROWS}
    for rows in source.execute(select(*columns), execution_options=options).partitions(_ROWS):
        wanted = {tuple(row[: len(keys)]): tuple(row) for row in rows}
        found = {tuple(row[: len(keys)]): tuple(row) for row in lookup.execute(connection, sorted(wanted))}
        differing += sum(found.get(key) != row for key, row in wanted.items())
    return differing
