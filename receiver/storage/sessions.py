"""Sessions of the console. Ended and expired ones are removed."""

from sqlalchemy import Connection, delete, insert, select

from receiver.domain.rows import SessionRow
from receiver.storage.database import Database
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import SessionTable

MAX_SESSIONS = 100
"""The maximum number of sessions of one ops token. Beyond it the oldest ones end."""


def begin_session(connection: Connection, row: SessionRow) -> None:
    """Begin a session; end the oldest ones of the same token if there are too many."""
    sessions = table_of(SessionTable)
    connection.execute(insert(sessions).values(row._asdict()))
    newest = select(sessions.c.digest).where(sessions.c.actor == row.actor)
    newest = newest.order_by(sessions.c.began_at.desc(), sessions.c.digest).limit(MAX_SESSIONS)
    connection.execute(delete(sessions).where(sessions.c.actor == row.actor, sessions.c.digest.not_in(newest)))


def end_session(connection: Connection, digest: str) -> None:
    """End a session, on all receivers."""
    sessions = table_of(SessionTable)
    connection.execute(delete(sessions).where(sessions.c.digest == digest))


def trim_sessions(connection: Connection, now: int) -> None:
    """Remove expired sessions. `now` is in microseconds."""
    sessions = table_of(SessionTable)
    connection.execute(delete(sessions).where(sessions.c.expires_at <= now))


def is_session(database: Database, digest: str, now: int) -> bool:
    """Tell whether a session exists and has not expired. Raises StorageUnavailable."""
    sessions = table_of(SessionTable)
    with database.read() as connection:
        found = connection.execute(select(sessions.c.expires_at).where(sessions.c.digest == digest)).scalar()
    return found is not None and found > now
