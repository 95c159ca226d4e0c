"""Tables for Shiipp: the links between packages and manifests, and the customer list that Shiipp downloads."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "links",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("package", sa.Text(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("linked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "package", name="pk_links"),
    )
    op.create_index("ix_links_source_manifest", "links", ["source", "manifest"], unique=False)
    op.create_table(
        "customer_imports",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("imported_at", sa.BigInteger(), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("body_bytes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_customer_imports"),
    )
    op.create_table(
        "customers",
        sa.Column("import_id", sa.Text(), nullable=False),
        sa.Column("user_code", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("import_id", "user_code", name="pk_customers"),
        sqlite_with_rowid=False,
    )
