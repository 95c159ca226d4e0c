"""Alembic runs this module for every upgrade, in the transaction and on the connection of `schema.migrate`."""

from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import func, insert, inspect, select

from receiver import __version__, clock
from receiver.storage.tables.metadata import METADATA, table_of
from receiver.storage.tables.operations import TableVersionTable


def record_version(*, ctx: MigrationContext, step: MigrationInfo, **_: Any) -> None:
    """Record an applied migration, once the table for it exists."""
    connection, version = ctx.connection, str(step.up_revision_id)
    recorded = table_of(TableVersionTable)
    if connection is not None and inspect(connection).has_table(recorded.name):
        now = clock.to_micros(clock.now())
        before = connection.execute(select(func.max(recorded.c.compatible_from))).scalar()
        oldest = max(before or "", find_oldest(version))
        row = {"version": version, "compatible_from": oldest, "program": __version__, "migrated_at": now}
        connection.execute(insert(recorded).values(row))


def find_oldest(version: str) -> str:
    """Return the oldest version of programs that support these tables: the newest one that a migration names.

    With `is_alone`, no program of an earlier version can run: then `compatible_from_alone` counts too.
    """
    names = ("compatible_from", "compatible_from_alone") if context.config.attributes.get("is_alone") else ("compatible_from",)
    scripts = context.script.walk_revisions("base", version)
    return max(str(getattr(script.module, name)) for script in scripts for name in names if hasattr(script.module, name))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    on_version_apply=record_version,  # type: ignore[arg-type]  # by name: it takes more than it uses
)
with context.begin_transaction():
    context.run_migrations()
