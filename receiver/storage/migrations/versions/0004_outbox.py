"""The outbox: applied events become changes with ids of their own, and a change that waits for a target has a row."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for name, kind in (
        ("change_id", sa.Text()),
        ("move", sa.Integer()),
        ("old_status", sa.Text()),
        ("old_status_milestone", sa.Text()),
    ):
        op.add_column("events", sa.Column(name, kind, nullable=True))
    op.add_column("trackers", sa.Column("moves", sa.Integer(), nullable=True))
    op.execute("UPDATE trackers SET moves = 0")
    with op.batch_alter_table("trackers") as batch:
        batch.alter_column("moves", existing_type=sa.Integer(), nullable=False)
    op.create_table(
        "dispatches",
        *_keys(),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("target", "source", "tracker_id", "move", name="pk_dispatches"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_dispatches_target_due_at", "dispatches", ["target", "due_at"])
    op.create_table(
        "dead_changes",
        *_keys(),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("died_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("target", "source", "tracker_id", "move", name="pk_dead_changes"),
    )
    op.create_table(
        "stopped_targets",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("target", name="pk_stopped_targets"),
    )


def _keys() -> list[sa.Column[Any]]:
    texts = [sa.Column(name, sa.Text(), nullable=False) for name in ("target", "source", "tracker_id")]
    return [*texts, sa.Column("move", sa.Integer(), nullable=False)]
