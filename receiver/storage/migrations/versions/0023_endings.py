"""Search terms: an index on their last characters, so that a tracker is found by the end of its number."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    has_ending = sa.text("length(term) BETWEEN 6 AND 35")
    ending = sa.text("substr(term, length(term) - 5)")
    op.create_index("ix_terms_ending", "terms", [ending], sqlite_where=has_ending, postgresql_where=has_ending)
