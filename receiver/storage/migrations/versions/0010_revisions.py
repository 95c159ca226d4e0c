"""Revisions: superseded versions of events, changes with rows of their own, and the sender's own milestone of a tracker."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_ROWS = 500
_KEY = ("source", "tracker_id", "event_id", "message_id", "digest")
_PIECE = "source = 'ship24' AND tracker_id > :after AND tracker_id <= :last"
_FIND_LAST = (
    "SELECT max(tracker_id) FROM (SELECT tracker_id FROM trackers WHERE source = 'ship24' AND tracker_id > :after "
    "ORDER BY tracker_id LIMIT :rows) AS piece"
)
_LOCK = f'SELECT 1 FROM trackers WHERE {_PIECE} ORDER BY tracker_id COLLATE "C" FOR UPDATE'  # noqa: S608  parts of ours
_UPDATE = (
    "UPDATE trackers SET shipment_milestone = NULLIF(substr(trim({milestone}), 1, 200), '') "  # noqa: S608
    f"WHERE {_PIECE} AND CASE WHEN shipment NOT LIKE '%\\u0000%' THEN {{is_text}} ELSE FALSE END"
)
_UPDATE_IN_FILE = _UPDATE.format(
    milestone="json_extract(shipment, '$.statusMilestone')", is_text="json_type(shipment, '$.statusMilestone') = 'text'"
)
_UPDATE_ON_SERVER = _UPDATE.format(
    milestone="shipment::json->>'statusMilestone'", is_text="json_typeof(shipment::json->'statusMilestone') = 'string'"
)
_TEXTS = ("status", "status_code", "status_category", "status_milestone", "location")


def upgrade() -> None:
    op.add_column("events", sa.Column("generated_at", sa.BigInteger(), nullable=True))
    op.add_column("events", sa.Column("stands_by", sa.Text(), nullable=True))
    op.add_column("trackers", sa.Column("shipment_milestone", sa.Text(), nullable=True))
    differs = sa.text("shipment_milestone <> status_milestone")
    op.create_index(
        "ix_trackers_milestone_differs",
        "trackers",
        ["source", "status_milestone", "moved_at", "tracker_id"],
        sqlite_where=differs,
        postgresql_where=differs,
    )
    op.create_table(
        "superseded_events",
        *(_text(name) for name in ("source", "tracker_id", "event_id", "message_id", "occurrence", "basis")),
        sa.Column("order", sa.BigInteger(), nullable=True),
        *(_text(name, nullable=True) for name in (*_TEXTS, "courier_code")),
        _text("outcome"),
        _text("reason", nullable=True),
        _text("against", nullable=True),
        _text("digest"),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        _text("change_id", nullable=True),
        sa.Column("move", sa.Integer(), nullable=True),
        _text("old_status", nullable=True),
        _text("old_status_milestone", nullable=True),
        sa.Column("generated_at", sa.BigInteger(), nullable=True),
        _text("stands_by", nullable=True),
        sa.PrimaryKeyConstraint(*_KEY, name="pk_superseded_events"),
    )
    op.create_table(
        "kept_changes",
        _text("source"),
        _text("tracker_id"),
        sa.Column("move", sa.Integer(), nullable=False),
        *(_text(name) for name in ("change_id", "event_id", "message_id", "occurrence")),
        *(_text(name, nullable=True) for name in ("old_status", "old_status_milestone", *_TEXTS)),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        _text("cause", nullable=True),
        sa.PrimaryKeyConstraint("source", "tracker_id", "move", name="pk_kept_changes"),
    )


def fill(connection: sa.Connection, after: str) -> str | None:
    """Take Ship24's own view of the next trackers from their blocks; return the id of the last of them, or None at the end.

    A block with NUL is left to the next message: PostgreSQL refuses it. The rows are locked in the order in which the service
    locks those of a batch, so that the two cannot wait for each other.
    """
    last = connection.execute(sa.text(_FIND_LAST), {"after": after, "rows": _ROWS}).scalar()
    if last is None:
        return None
    piece = {"after": after, "last": last}
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(_LOCK), piece)
        connection.execute(sa.text(_UPDATE_ON_SERVER), piece)
    else:
        connection.execute(sa.text(_UPDATE_IN_FILE), piece)
    return str(last)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)
