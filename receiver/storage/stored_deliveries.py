"""Reads of stored deliveries as they arrived, for deciding them again."""

from hashlib import blake2b

import orjson
from sqlalchemy import select

from receiver.domain.records import Delivery
from receiver.domain.rows import DeliveryRow, derive
from receiver.errors import NotFound, UnexpectedShape
from receiver.storage.database import Database
from receiver.storage.queries.pages import is_storable
from receiver.storage.stored_bodies import read_body
from receiver.storage.tables.ledger import DeliveryTable
from receiver.storage.tables.metadata import table_of

PRUNED = "The body of this delivery was deleted, so it cannot be replayed."
_NEVER_STORED = "This delivery was rejected or not stored, so there is nothing to replay."


def read_delivery(database: Database, delivery_id: str, *, needs_body: bool = True) -> Delivery:
    """Return a delivery as it arrived. Raises NotFound, UnexpectedShape if its body is not stored, or BodyDamaged.

    Unless it `needs_body`, a delivery whose body was pruned has an empty one.
    """
    deliveries = table_of(DeliveryTable)
    if not is_storable(delivery_id):
        raise NotFound("There is no delivery with this id.")
    with database.read() as connection:
        found = connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).first()
        stored = read_body(connection, delivery_id)
    if found is None:
        raise NotFound(f"There is no delivery {delivery_id}.")
    row = DeliveryRow(*found)
    if not can_be_decided(row):
        raise UnexpectedShape(_NEVER_STORED)
    if stored is not None and has_body(row, stored.body):
        return make_delivery(row, stored.headers, stored.body)
    if needs_body:
        raise UnexpectedShape(PRUNED)
    return make_delivery(row, "[]", b"")


def can_be_decided(row: DeliveryRow) -> bool:
    """Tell whether a delivery was authenticated and stored. Bodies of others are never decided."""
    return row.outcome != "refused" and (row.outcome != "failed" or row.body_bytes > 0)


def has_body(row: DeliveryRow, body: bytes | None) -> bool:
    """Tell whether the body is stored. After an erasure it has `null` for the erased items."""
    return bool(body) or row.body_bytes == 0


def fingerprint(body: bytes) -> str:
    """Return a digest that changes with the body."""
    return blake2b(body, digest_size=16).hexdigest()


def make_delivery(row: DeliveryRow, headers: str, body: bytes) -> Delivery:
    """Return a delivery as it arrived, from its rows."""
    pairs = tuple((name, value) for name, value in orjson.loads(headers))
    return derive(Delivery, row, headers=pairs, body=body)
