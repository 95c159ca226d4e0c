"""The tables, one module per subject.

Importing the package, or any of its modules, defines all tables, so that `metadata.METADATA` is always complete.
"""

from receiver.storage.tables import customers, ledger, operations, outbox, recovery, retention, revisions

__all__ = ["customers", "ledger", "operations", "outbox", "recovery", "retention", "revisions"]
