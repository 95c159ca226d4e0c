"""The tables of superseded versions of events, and of changes that are not in the row of an event."""

import sqlalchemy
from sqlalchemy import BigInteger, Column, Subquery, Text, literal, select
from sqlmodel import Field

from receiver.storage.tables.ids import IdText
from receiver.storage.tables.ledger import EventTable
from receiver.storage.tables.metadata import METADATA, Table, key, table_of


class ChangeTable(Table, table=True):
    """The changes that are no longer in the row of their event (`rows.ChangeRow`). A target may still wait for them."""

    __tablename__ = "kept_changes"

    source: str = key()
    tracker_id: str = key(IdText)
    move: int = Field(primary_key=True)
    change_id: str = Field(sa_type=IdText)
    event_id: str = Field(sa_type=IdText)
    message_id: str = Field(sa_type=IdText)
    occurrence: str = Field(sa_type=Text)
    old_status: str | None = Field(sa_type=Text)
    old_status_milestone: str | None = Field(sa_type=Text)
    status: str | None = Field(sa_type=Text)
    status_code: str | None = Field(sa_type=Text)
    status_category: str | None = Field(sa_type=Text)
    status_milestone: str | None = Field(sa_type=Text)
    location: str | None = Field(sa_type=Text)
    received_at: int = Field(sa_type=BigInteger)
    cause: str | None = Field(sa_type=IdText)
    shipment_milestone: str | None = Field(sa_type=Text)


class ShipmentChangeTable(Table, table=True):
    """The changes of senders' own milestones that targets want (`rows.ShipmentChangeRow`)."""

    __tablename__ = "shipment_changes"

    source: str = key()
    tracker_id: str = key(IdText)
    move: int = Field(primary_key=True)
    change_id: str = Field(sa_type=IdText)
    event_id: str | None = Field(sa_type=IdText)
    message_id: str = Field(sa_type=IdText)
    occurrence: str | None = Field(sa_type=Text)
    old_status: str | None = Field(sa_type=Text)
    old_status_milestone: str | None = Field(sa_type=Text)
    status: str | None = Field(sa_type=Text)
    status_code: str | None = Field(sa_type=Text)
    status_category: str | None = Field(sa_type=Text)
    status_milestone: str | None = Field(sa_type=Text)
    location: str | None = Field(sa_type=Text)
    received_at: int = Field(sa_type=BigInteger)
    old_shipment_milestone: str | None = Field(sa_type=Text)
    shipment_milestone: str | None = Field(sa_type=Text)


_VERSION_KEY = ("source", "tracker_id", "event_id", "message_id", "digest")

SUPERSEDED = sqlalchemy.Table(
    "superseded_events",
    METADATA,
    *(
        Column(column.name, column.type, primary_key=column.name in _VERSION_KEY, nullable=column.nullable)
        for column in table_of(EventTable).columns
    ),
)
"""Superseded versions of events, with the columns of `events`, and the messages that contained them."""


def every_version() -> Subquery:
    """Return the current versions of events (column `superseded` 0) and the superseded ones (1).

    A version that became current again, because a later message has its content again, is in both.
    """
    events = table_of(EventTable)
    current = select(*events.columns, literal(0).label("superseded"))
    return current.union_all(select(*SUPERSEDED.columns, literal(1))).subquery()
