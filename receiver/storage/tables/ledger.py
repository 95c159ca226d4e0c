"""The tables of deliveries, messages, events and trackers. Ids and verdicts stay; bodies are in a table that can be pruned.

Our own times are microseconds since 1970, UTC (`clock.from_micros`). A courier's times are text, as written. Every key is made by
the sender or by us, never by the database, so that no sequence is shared.
"""

from sqlalchemy import BigInteger, Boolean, Index, LargeBinary, Text, false, literal_column, text
from sqlmodel import Field

from receiver.storage.tables.ids import DigestText, IdText
from receiver.storage.tables.metadata import Table, key, partial_index

NOT_ACCEPTED = text("outcome <> 'accepted'")
"""The condition of a partial index. SQLite uses the index only for queries with exactly this text."""


WITHOUT_EVENTS = text("outcome NOT IN ('applied', 'stale')")
"""The messages without an event of their own in a timeline; all others are found through their events."""


MILESTONE_DIFFERS = text("shipment_milestone <> status_milestone")
"""The trackers whose sender gives another milestone than their latest event: the condition of a partial index."""


IS_OPEN_PACKAGE = text("subject <> 'parcel' AND NOT manifest_completed")
"""Packages that are in no completed manifest, and manifests: the condition of a partial index. Parcels have the full index."""


IS_TEST = text("test_run IS NOT NULL")
"""The deliveries and trackers of tests: the condition of partial indexes."""


ENDING_CHARACTERS = 6

ENDING = literal_column(f"substr(term, length(term) - {ENDING_CHARACTERS - 1})", Text)
"""The last characters of a search term: an index on them finds the terms with the same end.

The databases keep this index up by themselves, so programs of earlier versions need not know it. Like the condition of a partial
index, it serves only queries with exactly this text.
"""


HAS_ENDING = text(f"length(term) BETWEEN {ENDING_CHARACTERS} AND 35")
"""The search terms that are found by their end. The ids of Ship24's trackers are not: they have 36 characters."""


IS_OPEN = text("closed_at IS NULL")
"""The quarantined items that still need attention: the condition of a partial index."""


IS_BROUGHT_IN = text("origin <> 'webhook'")
"""The deliveries that no sender made: imports and reconciliation. The condition of a partial index."""


class DeliveryTable(Table, table=True):
    """One delivery and our answer, without their bodies (`rows.DeliveryRow`). `id` sorts by arrival.

    `outcome` is one of `verdicts.DELIVERY_OUTCOMES`; `code` and `reason` are those of the error, `note` comes from
    authentication.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        partial_index(
            "ix_deliveries_not_accepted",
            *("id", "outcome", "status", "source", "client", "received"),
            where=NOT_ACCEPTED,
        ),
        Index(None, "source", "id"),
        partial_index("ix_deliveries_tests", "id", "test_run", where=IS_TEST),
        partial_index("ix_deliveries_brought_in", "id", "origin", where=IS_BROUGHT_IN),
        {"sqlite_with_rowid": False},
    )

    id: str = key(IdText)
    source: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    method: str = Field(sa_type=Text)
    path: str = Field(sa_type=Text)
    received_at: int = Field(sa_type=BigInteger)
    decided_at: int = Field(sa_type=BigInteger)
    peer: str | None = Field(sa_type=Text)
    client: str | None = Field(sa_type=Text)
    token: str | None = Field(sa_type=Text)
    note: str | None = Field(sa_type=Text)
    status: int
    outcome: str = Field(sa_type=Text)
    code: str | None = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    body_bytes: int
    received: int
    applied: int
    stale: int
    duplicate: int
    recorded: int
    quarantined: int
    test_run: str | None = Field(sa_type=Text)
    cause: str | None = Field(sa_type=Text)
    origin: str = Field("webhook", sa_type=Text, sa_column_kwargs={"server_default": "webhook"})
    sent_at: int | None = Field(sa_type=BigInteger)
    body_number: int | None


class BodyTable(Table, table=True):
    """The body of a delivery, its headers without secrets and our answer (`rows.BodyRow`). Only `stored_bodies` reads them."""

    __tablename__ = "bodies"

    delivery_id: str = key(IdText)
    headers: str = Field(sa_type=Text)
    body: bytes = Field(sa_type=LargeBinary)
    answer: bytes = Field(sa_type=LargeBinary)
    content_bytes: int | None


class MessageTable(Table, table=True):
    """One row for each message that was ever stored, with its verdict (`rows.MessageRow`)."""

    __tablename__ = "messages"
    __table_args__ = (
        Index(None, "delivery_id"),
        partial_index(
            "ix_messages_without_events",
            "source",
            "tracker_id",
            where=WITHOUT_EVENTS,
        ),
    )

    source: str = key()
    message_id: str = key(IdText)
    tracker_id: str | None = Field(sa_type=IdText)
    topic: str = Field(sa_type=Text)
    outcome: str = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    delivery_id: str = Field(sa_type=IdText)
    position: int
    digest: str = Field(sa_type=DigestText)
    received_at: int = Field(sa_type=BigInteger)


class RepeatedMessageTable(Table, table=True):
    """Items without a row among the messages: further copies, and items without an id (`rows.RepeatedMessageRow`)."""

    __tablename__ = "sightings"
    __table_args__ = (Index(None, "source", "message_id", "delivery_id"),)

    delivery_id: str = key(IdText)
    position: int = Field(primary_key=True)
    source: str = Field(sa_type=Text)
    message_id: str | None = Field(sa_type=IdText)
    outcome: str = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    received_at: int = Field(sa_type=BigInteger)


class EventTable(Table, table=True):
    """The timelines: one row for the current version of each event, with its verdict and its change (`rows.EventRow`)."""

    __tablename__ = "events"

    source: str = key()
    tracker_id: str = key(IdText)
    event_id: str = key(IdText)
    message_id: str = Field(sa_type=IdText)
    occurrence: str = Field(sa_type=Text)
    basis: str = Field(sa_type=Text)
    order: int | None = Field(sa_type=BigInteger)
    status: str | None = Field(sa_type=Text)
    status_code: str | None = Field(sa_type=Text)
    status_category: str | None = Field(sa_type=Text)
    status_milestone: str | None = Field(sa_type=Text)
    location: str | None = Field(sa_type=Text)
    courier_code: str | None = Field(sa_type=Text)
    outcome: str = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    against: str | None = Field(sa_type=IdText)
    digest: str = Field(sa_type=DigestText)
    received_at: int = Field(sa_type=BigInteger)
    change_id: str | None = Field(sa_type=IdText)
    move: int | None
    old_status: str | None = Field(sa_type=Text)
    old_status_milestone: str | None = Field(sa_type=Text)
    generated_at: int | None = Field(sa_type=BigInteger)
    stands_by: str | None = Field(sa_type=IdText)
    shipment_milestone: str | None = Field(sa_type=Text)


class TrackerTable(Table, table=True):
    """The current state of each tracker (`rows.TrackerRow`). `completions` writes `manifest_completed`."""

    __tablename__ = "trackers"
    __table_args__ = (
        Index(None, "source", "status_milestone", "moved_at", "tracker_id"),
        partial_index(
            "ix_trackers_milestone_differs",
            *("source", "status_milestone", "moved_at", "tracker_id"),
            where=MILESTONE_DIFFERS,
        ),
        partial_index(
            "ix_trackers_open_packages",
            *("source", "status_milestone", "moved_at", "tracker_id"),
            where=IS_OPEN_PACKAGE,
        ),
        partial_index(
            "ix_trackers_tests",
            *("source", "status_milestone", "moved_at", "tracker_id"),
            where=IS_TEST,
        ),
    )

    source: str = key()
    tracker_id: str = key(IdText)
    version: int
    subject: str = Field(sa_type=Text)
    tracking_number: str | None = Field(sa_type=Text)
    client_tracker_id: str | None = Field(sa_type=Text)
    shipment_reference: str | None = Field(sa_type=Text)
    shipment: str | None = Field(sa_type=Text)
    snapshot_generated_at: int = Field(sa_type=BigInteger)
    snapshot_message_id: str = Field(sa_type=IdText)
    created_at: int = Field(sa_type=BigInteger)
    status: str | None = Field(sa_type=Text)
    status_code: str | None = Field(sa_type=Text)
    status_category: str | None = Field(sa_type=Text)
    status_milestone: str | None = Field(sa_type=Text)
    location: str | None = Field(sa_type=Text)
    latest_occurrence: str | None = Field(sa_type=Text)
    latest_order: int | None = Field(sa_type=BigInteger)
    latest_event_id: str | None = Field(sa_type=IdText)
    latest_message_id: str | None = Field(sa_type=IdText)
    latest_digest: str | None = Field(sa_type=DigestText)
    applied_at: int | None = Field(sa_type=BigInteger)
    moved_at: int = Field(sa_type=BigInteger)
    moves: int
    shipment_milestone: str | None = Field(sa_type=Text)
    shipment_moves: int = Field(0, sa_column_kwargs={"server_default": text("0")})
    test_run: str | None = Field(sa_type=Text)
    manifest_completed: bool = Field(sa_type=Boolean, sa_column_kwargs={"server_default": false()})


class SearchTermTable(Table, table=True):
    """The terms that find a tracker, case folded: its numbers, its id, the user's references.

    `term` sorts by code points whatever the database's own order is, so that terms with the same start are adjacent.
    """

    __tablename__ = "terms"
    __table_args__ = (
        partial_index("ix_terms_ending", ENDING, where=HAS_ENDING),
        {"sqlite_with_rowid": False},
    )

    term: str = key()
    source: str = key()
    tracker_id: str = key(IdText)


class LinkTable(Table, table=True):
    """The manifest of each package (`rows.LinkRow`): tracker ids of one source."""

    __tablename__ = "links"
    __table_args__ = (Index(None, "manifest", "source", "package"),)

    source: str = key()
    package: str = key(IdText)
    manifest: str = Field(sa_type=IdText)
    linked_at: int = Field(sa_type=BigInteger)


class QuarantineTable(Table, table=True):
    """Quarantined messages and events, with their bytes and the reason (`rows.QuarantineRow`)."""

    __tablename__ = "quarantine"
    __table_args__ = (
        Index(None, "delivery_id"),
        Index(None, "reason", "id"),
        partial_index("ix_quarantine_open", "id", "reason", "source", where=IS_OPEN),
    )

    id: str = key(IdText)
    delivery_id: str = Field(sa_type=IdText)
    position: int
    event_position: int | None
    source: str = Field(sa_type=Text)
    message_id: str | None = Field(sa_type=IdText)
    tracker_id: str | None = Field(sa_type=IdText)
    reason: str = Field(sa_type=Text)
    detail: str | None = Field(sa_type=Text)
    raw: bytes = Field(sa_type=LargeBinary)
    received_at: int = Field(sa_type=BigInteger)
    closed_at: int | None = Field(sa_type=BigInteger)
    closed_as: str | None = Field(sa_type=Text)
    closed_by: str | None = Field(sa_type=Text)
    note: str | None = Field(sa_type=Text)
