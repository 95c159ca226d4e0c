"""The tables, one module per subject. To import one module is to define all tables: `metadata.METADATA` is always whole."""

from receiver.storage.tables import customers, ledger, operations, outbox, retention, revisions

__all__ = ["customers", "ledger", "operations", "outbox", "retention", "revisions"]
