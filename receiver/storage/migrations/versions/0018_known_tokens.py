"""Tokens that a service has or had, by fingerprint."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "known_tokens",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("source", "fingerprint", "token")),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("source", "fingerprint", name="pk_known_tokens"),
    )
