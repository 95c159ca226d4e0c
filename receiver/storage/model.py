"""All tables. Who needs every one of them takes METADATA from here: a module of tables that nobody imports is not in it."""

from receiver.storage import corrections, dispatches, operations, retention, tables

MODULES = (tables, corrections, dispatches, operations, retention)
"""Where tables are defined."""

METADATA = tables.METADATA
