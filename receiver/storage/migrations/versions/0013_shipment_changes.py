"""Changes of the sender's own milestone: a number for each tracker, and rows for the targets that want them."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_OF_EVENT = ("old_status", "old_status_milestone", "status", "status_code", "status_category", "status_milestone", "location")


def upgrade() -> None:
    op.add_column("trackers", sa.Column("shipment_moves", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.create_table(
        "shipment_changes",
        _text("source"),
        _text("tracker_id"),
        sa.Column("move", sa.Integer(), nullable=False),
        _text("change_id"),
        _text("event_id", nullable=True),
        _text("message_id"),
        _text("occurrence", nullable=True),
        *(_text(name, nullable=True) for name in _OF_EVENT),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        _text("old_shipment_milestone", nullable=True),
        _text("shipment_milestone", nullable=True),
        sa.PrimaryKeyConstraint("source", "tracker_id", "move", name="pk_shipment_changes"),
    )


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)
