"""The tables of what senders say. Identities and verdicts are narrow and stay; bodies stand apart and can be pruned by age.

Moments of our own are microseconds since 1970, UTC (`clock.from_micros`). A courier's times are text, as written.
Every key is made by the sender or by us, never by the database, so that nothing has to be asked or counted centrally.
"""

from sqlalchemy import BigInteger, ColumnElement, Index, LargeBinary, Text, and_, text
from sqlmodel import Field

from receiver.storage.tables.metadata import Table, key, table_of

NOT_ACCEPTED = text("outcome <> 'accepted'")
"""The condition of a partial index; SQLite uses that only where a query has the same words."""


WITHOUT_EVENTS = text("outcome NOT IN ('applied', 'stale')")
"""The messages that left no event of their own in a timeline: all others are found through their events."""


MILESTONE_DIFFERS = text("shipment_milestone <> status_milestone")
"""The trackers of which the sender's own view is another than that of their newest event; a partial index has them alone."""


class DeliveryTable(Table, table=True):
    """One HTTP call and our answer to it, without its bytes. `id` sorts by arrival.

    `outcome` is `accepted`, `refused`, `unreadable` or `failed`; `code` and `reason` are those of the error, `note` is the
    door's.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index(
            "ix_deliveries_not_accepted",
            *("id", "outcome", "status", "source", "client", "received"),
            sqlite_where=NOT_ACCEPTED,
            postgresql_where=NOT_ACCEPTED,
        ),
        Index(None, "source", "id"),
        {"sqlite_with_rowid": False},
    )

    id: str = key()
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


class BodyTable(Table, table=True):
    """The exact bytes of a call, its headers without secrets (JSON pairs) and the bytes of our answer."""

    __tablename__ = "bodies"

    delivery_id: str = key()
    headers: str = Field(sa_type=Text)
    body: bytes = Field(sa_type=LargeBinary)
    answer: bytes = Field(sa_type=LargeBinary)


class MessageTable(Table, table=True):
    """The ledger: one row for each message that was ever kept, with its verdict."""

    __tablename__ = "messages"
    __table_args__ = (
        Index(None, "delivery_id"),
        Index(
            "ix_messages_without_events",
            "source",
            "tracker_id",
            sqlite_where=WITHOUT_EVENTS,
            postgresql_where=WITHOUT_EVENTS,
        ),
    )

    source: str = key()
    message_id: str = key()
    tracker_id: str | None = Field(sa_type=Text)
    topic: str = Field(sa_type=Text)
    outcome: str = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    delivery_id: str = Field(sa_type=Text)
    position: int
    digest: str = Field(sa_type=Text)
    received_at: int = Field(sa_type=BigInteger)


class RepeatedMessageTable(Table, table=True):
    """Items without a row of their own in the ledger: further copies, and items without an identity."""

    __tablename__ = "sightings"
    __table_args__ = (Index(None, "source", "message_id", "delivery_id"),)

    delivery_id: str = key()
    position: int = Field(primary_key=True)
    source: str = Field(sa_type=Text)
    message_id: str | None = Field(sa_type=Text)
    outcome: str = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    received_at: int = Field(sa_type=BigInteger)


class EventTable(Table, table=True):
    """The timelines: one row for each event of a tracker as it stands, with its verdict, and the change that it made."""

    __tablename__ = "events"

    source: str = key()
    tracker_id: str = key()
    event_id: str = key()
    message_id: str = Field(sa_type=Text)
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
    against: str | None = Field(sa_type=Text)
    digest: str = Field(sa_type=Text)
    received_at: int = Field(sa_type=BigInteger)
    change_id: str | None = Field(sa_type=Text)
    move: int | None
    old_status: str | None = Field(sa_type=Text)
    old_status_milestone: str | None = Field(sa_type=Text)
    generated_at: int | None = Field(sa_type=BigInteger)
    stands_by: str | None = Field(sa_type=Text)
    shipment_milestone: str | None = Field(sa_type=Text)


class TrackerTable(Table, table=True):
    """The present state of each tracker. `moved_at` is `applied_at`, or `created_at` where no event was applied yet."""

    __tablename__ = "trackers"
    __table_args__ = (
        Index(None, "source", "status_milestone", "moved_at", "tracker_id"),
        Index(
            "ix_trackers_milestone_differs",
            *("source", "status_milestone", "moved_at", "tracker_id"),
            sqlite_where=MILESTONE_DIFFERS,
            postgresql_where=MILESTONE_DIFFERS,
        ),
    )

    source: str = key()
    tracker_id: str = key()
    version: int
    subject: str = Field(sa_type=Text)
    tracking_number: str | None = Field(sa_type=Text)
    client_tracker_id: str | None = Field(sa_type=Text)
    shipment_reference: str | None = Field(sa_type=Text)
    shipment: str | None = Field(sa_type=Text)
    snapshot_generated_at: int = Field(sa_type=BigInteger)
    snapshot_message_id: str = Field(sa_type=Text)
    created_at: int = Field(sa_type=BigInteger)
    status: str | None = Field(sa_type=Text)
    status_code: str | None = Field(sa_type=Text)
    status_category: str | None = Field(sa_type=Text)
    status_milestone: str | None = Field(sa_type=Text)
    location: str | None = Field(sa_type=Text)
    latest_occurrence: str | None = Field(sa_type=Text)
    latest_order: int | None = Field(sa_type=BigInteger)
    latest_event_id: str | None = Field(sa_type=Text)
    latest_message_id: str | None = Field(sa_type=Text)
    latest_digest: str | None = Field(sa_type=Text)
    applied_at: int | None = Field(sa_type=BigInteger)
    moved_at: int = Field(sa_type=BigInteger)
    moves: int
    shipment_milestone: str | None = Field(sa_type=Text)
    shipment_moves: int = Field(0, sa_column_kwargs={"server_default": text("0")})


class SearchTermTable(Table, table=True):
    """What a tracker can be found by, case folded: its numbers, its id, the user's references.

    `term` sorts by code points whatever the database's own order is, so that all that begin alike stand together.
    """

    __tablename__ = "terms"
    __table_args__ = ({"sqlite_with_rowid": False},)

    term: str = key()
    source: str = key()
    tracker_id: str = key()


class LinkTable(Table, table=True):
    """Which manifest a package travels with, by the latest call that said so: tracker ids of one source."""

    __tablename__ = "links"
    __table_args__ = (Index(None, "source", "manifest"),)

    source: str = key()
    package: str = key()
    manifest: str = Field(sa_type=Text)
    linked_at: int = Field(sa_type=BigInteger)


class QuarantineTable(Table, table=True):
    """Messages and events that could not be applied, with their bytes and the reason."""

    __tablename__ = "quarantine"
    __table_args__ = (Index(None, "delivery_id"), Index(None, "reason", "id"))

    id: str = key()
    delivery_id: str = Field(sa_type=Text)
    position: int
    event_position: int | None
    source: str = Field(sa_type=Text)
    message_id: str | None = Field(sa_type=Text)
    tracker_id: str | None = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    detail: str | None = Field(sa_type=Text)
    raw: bytes = Field(sa_type=LargeBinary)
    received_at: int = Field(sa_type=BigInteger)


def is_without_content() -> ColumnElement[bool]:
    """Return what is so of refused and failed calls without content. Where our own code failed (500), the bytes are kept."""
    deliveries = table_of(DeliveryTable)
    return and_(deliveries.c.outcome.in_(["refused", "failed"]), deliveries.c.received == 0, deliveries.c.status != 500)
