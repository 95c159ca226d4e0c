"""Bodies, headers and answers in one compressed frame: the size of its content.

A program of an earlier version takes the frame for the body: it would show it, and an erasure would find no name in it. So new
rows are packed only where no such program can run: on a database with one writer, and where this migration made all tables.
There `compatible_from_alone` is recorded. The first migration of the next version allows it everywhere else, as it may remove
what this version no longer uses (docs/develop/migrations.md).
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
compatible_from_alone = "0032"


def upgrade() -> None:
    op.add_column("bodies", sa.Column("content_bytes", sa.Integer(), nullable=True))
