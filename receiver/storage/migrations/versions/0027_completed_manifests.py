"""Packages: a column for those of completed manifests, and an index that has those of a manifest in their order."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

_ROWS = 500
_FIND_LAST = (
    "SELECT max(tracker_id) FROM (SELECT tracker_id FROM trackers WHERE source = 'shiipp' AND tracker_id > :after "
    "ORDER BY tracker_id LIMIT :rows) AS piece"
)
_PIECE = "source = 'shiipp' AND tracker_id > :after AND tracker_id <= :last"
_LOCK = f'SELECT 1 FROM trackers WHERE {_PIECE} ORDER BY tracker_id COLLATE "C" FOR UPDATE'  # noqa: S608  parts of ours
_COMPLETED = (
    "SELECT 1 FROM links JOIN trackers AS manifests ON manifests.source = links.source AND manifests.tracker_id = links.manifest "
    "WHERE links.source = trackers.source AND links.package = trackers.tracker_id "
    "AND manifests.status_milestone IN ('delivered', 'completed')"
)
_UPDATE = f"UPDATE trackers SET manifest_completed = true WHERE {_PIECE} AND subject = 'package' AND EXISTS ({_COMPLETED})"  # noqa: S608


def upgrade() -> None:
    op.add_column("trackers", sa.Column("manifest_completed", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index("ix_links_manifest_source_package", "links", ["manifest", "source", "package"])
    op.drop_index("ix_links_source_manifest", "links")


def fill(connection: sa.Connection, after: str) -> str | None:
    """Mark the next packages whose manifest is completed; return the id of the last of them, or None at the end.

    The rows are locked in the order in which the service locks those of a batch, so that the two cannot wait for each other. What
    the service of the version before writes after this is marked with the next message about the package or its manifest.
    """
    last = connection.execute(sa.text(_FIND_LAST), {"after": after, "rows": _ROWS}).scalar()
    if last is None:
        return None
    piece = {"after": after, "last": last}
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(_LOCK), piece)
    connection.execute(sa.text(_UPDATE), piece)
    return str(last)
