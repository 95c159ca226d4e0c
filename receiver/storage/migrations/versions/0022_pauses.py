"""Targets that an operator paused, or had tried at once."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.add_column("stopped_targets", sa.Column("is_paused", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "flushes",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("target", name="pk_flushes"),
    )
