"""Alembic runs this module for every upgrade, in the transaction and on the connection of `schema.migrate`."""

from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import insert, inspect

from receiver import __version__, clock
from receiver.storage.tables.metadata import METADATA, table_of
from receiver.storage.tables.operations import TableVersionTable


def record_version(*, ctx: MigrationContext, step: MigrationInfo, **_: Any) -> None:
    """Record an applied migration, once the table for it exists."""
    connection, version = ctx.connection, str(step.up_revision_id)
    recorded = table_of(TableVersionTable)
    if connection is not None and inspect(connection).has_table(recorded.name):
        now = clock.to_micros(clock.now())
        row = {"version": version, "compatible_from": find_oldest(version), "program": __version__, "migrated_at": now}
        connection.execute(insert(recorded).values(row))


def find_oldest(version: str) -> str:
    """Return the oldest version of programs that support these tables: `compatible_from` of the newest migration that sets it."""
    return next(
        str(script.module.compatible_from)
        for script in context.script.walk_revisions("base", version)
        if hasattr(script.module, "compatible_from")
    )


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    on_version_apply=record_version,  # type: ignore[arg-type]  # by name: it takes more than it uses
)
with context.begin_transaction():
    context.run_migrations()
