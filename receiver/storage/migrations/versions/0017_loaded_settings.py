"""The address on which a process listens, and fingerprints of the settings that it loaded."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    for name in ("address", "settings"):
        op.add_column("processes", sa.Column(name, sa.Text(), nullable=True))
