"""The last time that each silent tracker was looked up at its vendor."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    op.create_table(
        "lookups",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("tracker_id", sa.Text(), nullable=False),
        sa.Column("looked_up_at", sa.BigInteger(), nullable=False),
        sa.Column("is_tracked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("source", "tracker_id", name="pk_lookups"),
    )
    op.create_index("ix_lookups_looked_up_at", "lookups", ["looked_up_at"])
