"""Tables and indexes for operators: hourly counts, alarms, the audit log. Unrecorded deliveries move to the hourly counts."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_WITHOUT_EVENTS = sa.text("outcome NOT IN ('applied', 'stale')")
_VERDICTS = "received, applied, stale, duplicate, recorded, quarantined"


def upgrade() -> None:
    _add_moved_at()
    op.create_index(
        "ix_trackers_source_status_milestone_moved_at_tracker_id",
        "trackers",
        ["source", "status_milestone", "moved_at", "tracker_id"],
    )
    op.create_index("ix_deliveries_source_id", "deliveries", ["source", "id"])
    op.create_index(
        "ix_messages_without_events",
        "messages",
        ["source", "tracker_id"],
        sqlite_where=_WITHOUT_EVENTS,
        postgresql_where=_WITHOUT_EVENTS,
    )
    op.create_index("ix_quarantine_delivery_id", "quarantine", ["delivery_id"])
    op.drop_index("ix_sightings_source_message_id", "sightings")
    op.create_index("ix_sightings_source_message_id_delivery_id", "sightings", ["source", "message_id", "delivery_id"])
    if op.get_bind().dialect.name == "postgresql":  # others sort by code points anyway
        op.alter_column("terms", "term", existing_type=sa.Text(), type_=sa.Text(collation="C"), existing_nullable=False)
    _create_tallies()
    _count_what_is_there()
    op.drop_table("unrecorded")
    op.create_table(
        "alarms",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", "subject", name="pk_alarms"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )


def _add_moved_at() -> None:
    op.add_column("trackers", sa.Column("moved_at", sa.BigInteger(), nullable=True))
    op.execute("UPDATE trackers SET moved_at = coalesce(applied_at, created_at)")
    with op.batch_alter_table("trackers") as batch:
        batch.alter_column("moved_at", existing_type=sa.BigInteger(), nullable=False)


def _create_tallies() -> None:
    keys: list[sa.Column[Any]] = [
        sa.Column("span_seconds", sa.Integer(), nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("writer", "source", "outcome", "code")),
    ]
    numbers = ["calls", "unrecorded", *_VERDICTS.split(", ")]
    op.create_table(
        "tallies",
        *keys,
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in numbers),
        sa.PrimaryKeyConstraint(*(key.name for key in keys), name="pk_tallies"),
        sqlite_with_rowid=False,
    )


def _count_what_is_there() -> None:
    sums = ", ".join(f"sum({name})" for name in _VERDICTS.split(", "))
    names = f"span_seconds, begins_at, writer, source, outcome, code, calls, unrecorded, {_VERDICTS}"
    for seconds in (60, 3600):
        micros = seconds * 1_000_000
        op.execute(
            f"INSERT INTO tallies ({names}) "  # noqa: S608
            f"SELECT {seconds}, received_at - received_at % {micros}, 'deliveries', source, outcome, "
            f"coalesce(code, ''), count(*), 0, {sums} FROM deliveries GROUP BY 1, 2, 3, 4, 5, 6"
        )
        op.execute(
            f"INSERT INTO tallies ({names}) "  # noqa: S608
            f"SELECT {seconds}, minute_at - minute_at % {micros}, 'unrecorded', source, "
            "CASE WHEN code IN ('busy', 'storage_unavailable') THEN 'failed' ELSE 'refused' END, code, "
            "sum(calls), sum(calls), 0, 0, 0, 0, 0, 0 FROM unrecorded GROUP BY 1, 2, 3, 4, 5, 6"
        )
