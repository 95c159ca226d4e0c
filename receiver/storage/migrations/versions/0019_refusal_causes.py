"""The cause of a delivery that was not authenticated."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("cause", sa.Text(), nullable=True))
