"""Deliveries and trackers of tests."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_IS_TEST = sa.text("test_run IS NOT NULL")
_INDEXES = {
    "deliveries": ("id", "test_run"),
    "trackers": ("source", "status_milestone", "moved_at", "tracker_id"),
}


def upgrade() -> None:
    for table, columns in _INDEXES.items():
        op.add_column(table, sa.Column("test_run", sa.Text(), nullable=True))
        op.create_index(f"ix_{table}_tests", table, [*columns], sqlite_where=_IS_TEST, postgresql_where=_IS_TEST)
