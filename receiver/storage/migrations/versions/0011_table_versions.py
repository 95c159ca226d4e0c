"""A record of the programs that support each version of the tables, so that a program can serve later tables."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
compatible_from = "0006"


def upgrade() -> None:
    op.create_table(
        "table_versions",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("compatible_from", sa.Text(), nullable=False),
        sa.Column("program", sa.Text(), nullable=False),
        sa.Column("migrated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_table_versions"),
    )
