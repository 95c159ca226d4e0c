"""Ids and digests as 16 bytes in a SQLite file, where they are canonical texts (`tables.ids`).

A program of an earlier version finds no such id by its text: it would store each message again. No such program can run on a
SQLite file beside this one, so `compatible_from_alone` is recorded. On PostgreSQL ids stay texts, and nothing changes.

The tables are copied, each in the order of its rows: changed in place, they would be half empty. All of it is one transaction.
"""

import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
compatible_from_alone = "0033"

_CACHE_KB = 400_000
"""The memory for the trees of a large table, whose keys are scattered: else each page is written many times."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DIGEST = re.compile(r"[0-9a-f]{32}")

_IDS = {
    "bodies": ("delivery_id",),
    "dead_changes": ("tracker_id", "event_id"),
    "deliveries": ("id",),
    "delivered_changes": ("tracker_id", "change_id"),
    "dispatches": ("tracker_id", "event_id"),
    "events": ("tracker_id", "event_id", "message_id", "against", "change_id", "stands_by"),
    "kept_changes": ("tracker_id", "change_id", "event_id", "message_id", "cause"),
    "links": ("package", "manifest"),
    "lookups": ("tracker_id",),
    "messages": ("message_id", "tracker_id", "delivery_id"),
    "quarantine": ("id", "delivery_id", "message_id", "tracker_id"),
    "shipment_changes": ("tracker_id", "change_id", "event_id", "message_id"),
    "sightings": ("delivery_id", "message_id"),
    "superseded_events": ("tracker_id", "event_id", "message_id", "against", "change_id", "stands_by"),
    "terms": ("tracker_id",),
    "trackers": ("tracker_id", "snapshot_message_id", "latest_event_id", "latest_message_id"),
}
_DIGESTS = {"events": "digest", "messages": "digest", "superseded_events": "digest", "trackers": "latest_digest"}


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    driver: Any = connection.connection.driver_connection
    driver.create_function("packed_id", 1, _pack_id, deterministic=True)
    driver.create_function("packed_digest", 1, _pack_digest, deterministic=True)
    (before,) = driver.execute("PRAGMA cache_size").fetchone()
    driver.execute(f"PRAGMA cache_size=-{_CACHE_KB}")
    driver.execute("PRAGMA legacy_alter_table=ON")  # a view of an operator's own may name a table that is gone for a moment
    try:
        for table in sorted(_IDS):
            _copy(connection, table)
    finally:
        driver.execute("PRAGMA legacy_alter_table=OFF")
        driver.execute(f"PRAGMA cache_size={before}")


def _copy(connection: sa.Connection, table: str) -> None:
    """Replace a table by a copy of itself with packed values, and make its indexes again."""
    named = {"table": table}
    parts = "SELECT sql FROM sqlite_master WHERE tbl_name = :table AND sql IS NOT NULL ORDER BY type <> 'table'"
    made, *indexes = connection.execute(sa.text(parts), named).scalars().all()
    columns = connection.execute(sa.text("SELECT name FROM pragma_table_info(:table)"), named).scalars().all()
    _, parenthesis, rest = made.partition("(")
    connection.exec_driver_sql(f"CREATE TABLE packed {parenthesis}{rest}")
    names, values = ", ".join(f'"{name}"' for name in columns), ", ".join(_value_of(table, name) for name in columns)
    connection.exec_driver_sql(f"INSERT INTO packed ({names}) SELECT {values} FROM {table}")  # noqa: S608  names of ours
    connection.exec_driver_sql(f"DROP TABLE {table}")
    connection.exec_driver_sql(f"ALTER TABLE packed RENAME TO {table}")
    for index in indexes:
        connection.exec_driver_sql(index)


def _value_of(table: str, column: str) -> str:
    if column in _IDS[table]:
        return f'packed_id("{column}")'
    return f'packed_digest("{column}")' if column == _DIGESTS.get(table) else f'"{column}"'


def _pack_id(value: str | None) -> str | bytes | None:
    return value if value is None or not _UUID.fullmatch(value) else bytes.fromhex(value.replace("-", ""))


def _pack_digest(value: str | None) -> str | bytes | None:
    return value if value is None or not _DIGEST.fullmatch(value) else bytes.fromhex(value)
