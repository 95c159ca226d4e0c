"""The outbox: an index that finds the oldest change whose last attempt failed."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    has_failed = sa.text("error IS NOT NULL")
    op.create_index(
        "ix_dispatches_failed", "dispatches", ["target", "made_at"], sqlite_where=has_failed, postgresql_where=has_failed
    )
