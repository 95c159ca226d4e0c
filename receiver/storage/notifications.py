"""PostgreSQL notifications, which wake relays in other processes when there are changes.

A transaction only notes that it made changes. The notification is sent after the commit, in a transaction of its own: PostgreSQL
commits transactions with notifications one after the other, so each one would wait for the flush of the one before it.
"""

from sqlalchemy import Connection, text

CHANGES_CHANNEL = "receiver_changes"

_NOTED = "changes"  # the key in the `info` of a connection for the note that changes were made
_LOCK_MILLISECONDS = 100  # waits for transactions of an earlier version, which notifies while it writes

# It may be lost in a crash, so its commit waits for no disk and no standby
_SEND = text(
    "SELECT set_config('synchronous_commit', 'off', true), set_config('lock_timeout', :lock, true), pg_notify(:channel, '')"
)


def note_changes(connection: Connection) -> None:
    """Note on the connection that its transaction makes changes due."""
    connection.info[_NOTED] = True


def has_noted(connection: Connection) -> bool:
    """Tell whether changes are noted on a connection and relays were not notified yet."""
    return not connection.invalidated and _NOTED in connection.info


def notify(connection: Connection) -> None:
    """Notify all relays in a separate transaction, and clear the note. If that fails, relays find the changes when they poll."""
    connection.info.pop(_NOTED, None)
    with connection.begin():
        connection.execute(_SEND, {"lock": f"{_LOCK_MILLISECONDS}ms", "channel": CHANGES_CHANNEL})
