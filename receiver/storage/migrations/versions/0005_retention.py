"""Retention: the progress of pruning and its claim, and an index of dead changes by age."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "prunings",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("leased_until", sa.BigInteger(), nullable=False),
        sa.Column("reached", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_prunings"),
    )
    op.create_index("ix_dead_changes_died_at", "dead_changes", ["died_at"])
