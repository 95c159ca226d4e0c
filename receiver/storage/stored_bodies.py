"""The rows of bodies: read as they arrived, written packed where every program that may run can read that."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from receiver.domain.rows import BodyRow
from receiver.errors import BodyDamaged
from receiver.storage.database import Database
from receiver.storage.packed_bodies import BodyPacker, unpack
from receiver.storage.statements import Insert, Inserted
from receiver.storage.tables.ledger import BodyTable, DeliveryTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.version import may_pack

_AT_ONCE = 200  # rows read to find damage


class BodyWriter:
    """Adds contents of deliveries, inside transactions of the caller."""

    def __init__(self, database: Database) -> None:
        self._insert = Insert(database, table_of(BodyTable), BodyRow)
        self._packer = BodyPacker()
        self._may_pack: bool | None = None

    def add(self, connection: Connection, rows: Sequence[tuple[str, BodyRow]]) -> Inserted:
        """Add contents as they arrived, each with the source of its delivery. A frame (of a damaged body) is added as it is."""
        if self.may_pack(connection):
            return self._insert.execute(connection, [self._pack(source, row) for source, row in rows])
        return self._insert.execute(connection, [row for _, row in rows])

    def may_pack(self, connection: Connection) -> bool:
        """Tell whether rows are packed. The first call reads that; call it before a pipeline."""
        if self._may_pack is None:
            self._may_pack = may_pack(connection)
        return self._may_pack

    def _pack(self, source: str, row: BodyRow) -> BodyRow:
        return row if row.content_bytes is not None else self._packer.pack(source, row)


def read_body(connection: Connection, delivery_id: str) -> BodyRow | None:
    """Return the content of a delivery as it arrived; None if it is not stored. Raises BodyDamaged."""
    stored = _read_stored(connection, delivery_id)
    return None if stored is None else unpack(stored)


def read_stored(connection: Connection, delivery_ids: Sequence[str]) -> dict[str, BodyRow]:
    """Return the rows of some deliveries by id, each packed or not, as it is stored."""
    bodies = table_of(BodyTable)
    rows = connection.execute(select(bodies).where(bodies.c.delivery_id.in_(delivery_ids)))
    return {row.delivery_id: _as_row(row) for row in rows}


def change_body(connection: Connection, delivery_id: str, *, body: bytes | None = None, answer: bytes | None = None) -> bool:
    """Replace the body or the answer of a delivery, whose row the caller has locked; return whether they are stored.

    Pruning locks no delivery: the row may go before the update, which then changes nothing. Raises BodyDamaged.
    """
    deliveries, bodies = table_of(DeliveryTable), table_of(BodyTable)
    stored = _read_stored(connection, delivery_id)
    if stored is None:
        return False
    row = unpack(stored)
    row = row._replace(body=row.body if body is None else body, answer=row.answer if answer is None else answer)
    if stored.content_bytes is not None:
        source = connection.execute(select(deliveries.c.source).where(deliveries.c.id == delivery_id)).scalar_one()
        row = BodyPacker().pack(source, row)
    return bool(connection.execute(update(bodies).where(bodies.c.delivery_id == delivery_id).values(row._asdict())).rowcount)


def _read_stored(connection: Connection, delivery_id: str) -> BodyRow | None:
    return read_stored(connection, [delivery_id]).get(delivery_id)


def _as_row(row: Any) -> BodyRow:
    stored = BodyRow._make(row)
    return stored._replace(body=bytes(stored.body), answer=bytes(stored.answer))


def find_damaged_body(connection: Connection, should_stop: Callable[[], bool], newest: int | None = None) -> str | None:
    """Return what is wrong with a packed body, or None. With `newest`, only so many are read.

    Raises KeyboardInterrupt once `should_stop` returns True.
    """
    try:
        for row in _read_newest(connection, newest):
            if should_stop():
                raise KeyboardInterrupt
            unpack(row)
    except BodyDamaged as error:
        return error.message
    return None


def _read_newest(connection: Connection, number: int | None) -> Iterator[BodyRow]:
    """Yield stored rows, newest first, a few at once."""
    bodies = table_of(BodyTable)
    newest_first = select(bodies).order_by(bodies.c.delivery_id.desc()).limit(number)
    with connection.execute(newest_first, execution_options={"stream_results": True, "yield_per": _AT_ONCE}) as found:
        yield from map(_as_row, found)
