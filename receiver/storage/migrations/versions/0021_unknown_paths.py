"""POSTs to unknown paths."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.create_table(
        "unknown_paths",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("nearest", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("requests", "first_at", "last_at")),
        sa.PrimaryKeyConstraint("path", name="pk_unknown_paths"),
    )
