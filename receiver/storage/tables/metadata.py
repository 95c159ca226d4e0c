"""All tables. Take METADATA from here where every table is needed: a module of tables that nobody imports is not in it."""

from receiver.storage import retention
from receiver.storage.tables import ledger, operations, outbox, revisions

MODULES = (ledger, revisions, outbox, operations, retention)
"""Where tables are defined."""

METADATA = ledger.METADATA
