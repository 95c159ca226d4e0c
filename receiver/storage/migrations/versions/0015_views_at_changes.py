"""The sender's own milestone at each change to another event."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    for table in ("events", "superseded_events", "kept_changes"):
        op.add_column(table, sa.Column("shipment_milestone", sa.Text(), nullable=True))
