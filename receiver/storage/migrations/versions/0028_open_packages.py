"""An index of manifests and of packages that are in no completed one, made after the packages of completed ones were marked."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    is_open = sa.text("subject <> 'parcel' AND NOT manifest_completed")
    op.create_index(
        "ix_trackers_open_packages",
        "trackers",
        ["source", "status_milestone", "moved_at", "tracker_id"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
