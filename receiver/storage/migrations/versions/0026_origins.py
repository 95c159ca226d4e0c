"""How a delivery came: a webhook, an import, or reconciliation."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

_IS_BROUGHT_IN = sa.text("origin <> 'webhook'")


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("origin", sa.Text(), server_default="webhook", nullable=False))
    op.add_column("deliveries", sa.Column("sent_at", sa.BigInteger(), nullable=True))
    op.add_column("deliveries", sa.Column("body_number", sa.Integer(), nullable=True))
    op.create_index(
        "ix_deliveries_brought_in",
        "deliveries",
        ["id", "origin"],
        sqlite_where=_IS_BROUGHT_IN,
        postgresql_where=_IS_BROUGHT_IN,
    )
