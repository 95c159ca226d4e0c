"""The state of quarantined items: when, as what and by whom they were closed."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

_ROWS = 500
_FIND_LAST = "SELECT max(id) FROM (SELECT id FROM quarantine WHERE id > :after ORDER BY id LIMIT :rows) AS piece"
_PIECE = "id > :after AND id <= :last"
_LOCK = f'SELECT 1 FROM quarantine WHERE {_PIECE} ORDER BY id COLLATE "C" FOR UPDATE'  # noqa: S608  parts of ours
_CURRENT_COPY = (
    "FROM messages WHERE messages.source = quarantine.source AND messages.message_id = quarantine.message_id "
    "AND (messages.delivery_id <> quarantine.delivery_id OR messages.position <> quarantine.position)"
)
_RESOLVE = (
    f"UPDATE quarantine SET closed_as = 'resolved', closed_at = (SELECT messages.received_at {_CURRENT_COPY}) "  # noqa: S608
    f"WHERE {_PIECE} AND closed_at IS NULL AND EXISTS (SELECT 1 {_CURRENT_COPY})"
)


def upgrade() -> None:
    op.add_column("quarantine", sa.Column("closed_at", sa.BigInteger(), nullable=True))
    for name in ("closed_as", "closed_by", "note"):
        op.add_column("quarantine", sa.Column(name, sa.Text(), nullable=True))


def fill(connection: sa.Connection, after: str) -> str | None:
    """Close the next items that a corrected copy has replaced: the message's row names another place.

    Return the id of the last item of the piece, or None at the end.
    """
    last = connection.execute(sa.text(_FIND_LAST), {"after": after, "rows": _ROWS}).scalar()
    if last is None:
        return None
    piece = {"after": after, "last": last}
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(_LOCK), piece)
    connection.execute(sa.text(_RESOLVE), piece)
    return str(last)
