"""The outbox: the delivered changes of the last days."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_table(
        "delivered_changes",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("target", "source", "tracker_id")),
        sa.Column("move", sa.Integer(), nullable=False),
        sa.Column("change_id", sa.Text(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("target", "source", "tracker_id", "move", name="pk_delivered_changes"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_delivered_changes_target_delivered_at", "delivered_changes", ["target", "delivered_at"])
