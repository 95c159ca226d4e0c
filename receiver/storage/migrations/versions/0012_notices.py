"""Alarms: a notice that was not sent when its process ended can be found."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("alarms", sa.Column("notice_due_at", sa.BigInteger(), nullable=True))
