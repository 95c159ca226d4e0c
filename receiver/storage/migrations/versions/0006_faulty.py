"""Indexes of deliveries that were not accepted, so that counting them reads no rows, and of the quarantine by reason."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.drop_index("ix_deliveries_not_accepted", "deliveries")
    op.create_index(
        "ix_deliveries_not_accepted",
        "deliveries",
        ["id", "outcome", "status", "source", "client", "received"],
        sqlite_where=sa.text("outcome <> 'accepted'"),
        postgresql_where=sa.text("outcome <> 'accepted'"),
    )
    op.create_index("ix_quarantine_reason_id", "quarantine", ["reason", "id"])
