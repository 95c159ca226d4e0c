"""Notifications of PostgreSQL: how relays in other processes learn of changes.

A transaction only notes that it made changes; they are told of in a transaction of its own, after the commit. PostgreSQL lets
one transaction after the other commit that sends a notification: with it inside, each commit would wait for the flush of the
one before it.
"""

from sqlalchemy import Connection, text

CHANGES_CHANNEL = "receiver_changes"

_NOTED = "changes"  # where a connection keeps, in its `info`, that changes were made on it
_LOCK_MILLISECONDS = 100  # for others who send at the same time, in the transactions of a version that did so while it wrote

# Nobody has to find it after a crash, so its commit waits for no disk and no standby
_SEND = text(
    "SELECT set_config('synchronous_commit', 'off', true), set_config('lock_timeout', :lock, true), pg_notify(:channel, '')"
)


def note_changes(connection: Connection) -> None:
    """Note that this transaction makes changes due."""
    connection.info[_NOTED] = True


def has_noted(connection: Connection) -> bool:
    """Tell whether changes were noted on a connection, and not told of since."""
    return not connection.invalidated and _NOTED in connection.info


def notify(connection: Connection) -> None:
    """Wake all relays, in a transaction of its own. What was noted is forgotten: if this fails, relays find it when they look."""
    connection.info.pop(_NOTED, None)
    with connection.begin():
        connection.execute(_SEND, {"lock": f"{_LOCK_MILLISECONDS}ms", "channel": CHANGES_CHANNEL})
