"""An index of the open items in quarantine, made after those that a corrected copy had replaced were closed."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    is_open = sa.text("closed_at IS NULL")
    op.create_index(
        "ix_quarantine_open", "quarantine", ["id", "reason", "source"], sqlite_where=is_open, postgresql_where=is_open
    )
