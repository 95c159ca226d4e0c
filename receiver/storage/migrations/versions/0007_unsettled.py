"""The outbox: a count of claims that ended without a result, and an index of claimed changes."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("dispatches", sa.Column("unsettled", sa.Integer(), server_default=sa.text("0"), nullable=False))
    is_claimed = sa.text("claim IS NOT NULL")
    op.create_index("ix_dispatches_claim", "dispatches", ["claim"], sqlite_where=is_claimed, postgresql_where=is_claimed)
