"""All tables. Who needs every one of them takes METADATA from here: a module of tables that nobody imports is not in it."""

from receiver.storage import operations, outbox, retention, tables

MODULES = (tables, operations, outbox, retention)
"""Where tables are defined."""

METADATA = tables.METADATA
