"""Alembic runs this for every migration, on the connection that `schema.migrate` gives it."""

from alembic import context

from receiver.storage.model import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
