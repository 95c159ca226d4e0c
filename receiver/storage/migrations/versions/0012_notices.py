"""Alarms: a column that finds notices which a process did not send before it ended."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("alarms", sa.Column("notice_due_at", sa.BigInteger(), nullable=True))
