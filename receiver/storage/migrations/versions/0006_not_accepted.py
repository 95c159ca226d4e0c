"""Calls that were not accepted: what is asked of them stands in their index, so that their rows are not read to count them."""

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
