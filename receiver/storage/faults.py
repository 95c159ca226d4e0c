"""Whose fault an error in a transaction is. Only content that the database cannot take may be blamed on a message.

PostgreSQL names the kind of an error by the class of its SQLSTATE (manual, appendix A), SQLite by its result code
(sqlite.org/rescode.html). An error of a kind that is not listed here counts as the database's own, whatever it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from sqlite3 import Error as SQLiteError

from psycopg import DataError as PsycopgDataError
from psycopg import Error as PsycopgError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from receiver.errors import StorageUnavailable

DATABASE_ERRORS = (SQLAlchemyError, PsycopgError, SQLiteError)
"""What SQLAlchemy and the drivers raise. A driver's own error comes bare where SQLAlchemy has no statement to name."""

_RACES = {"40001", "40P01"}  # serialization failure, deadlock
_CONTENT_CLASSES = {"22", "23", "54"}  # data exception, integrity constraint violation, program limit exceeded
_CONTENT_NAMES = ("SQLITE_CONSTRAINT", "SQLITE_TOOBIG", "SQLITE_MISMATCH")
_UNWRITABLE = (PsycopgDataError, UnicodeEncodeError, OverflowError)  # what a driver cannot send: NUL, half a pair, 65 bits
_WAITED = {"55P03", "57014", "SQLITE_BUSY", "SQLITE_LOCKED"}  # lock not available, query canceled: it took its whole time


class LostRace(Exception):
    """Another process kept the same key first. Nothing of this transaction is written; decide it again."""


class Fault(StrEnum):
    """Whose fault an error is: another process was first, what was to be written, the database, our own code."""

    RACE = "race"
    CONTENT = "content"
    STORAGE = "storage"
    CODE = "code"


def find_fault(error: BaseException) -> Fault:
    """Return whose fault an error is that ended a transaction."""
    cause = _cause(error)
    kind = _kind(cause)
    if isinstance(cause, LostRace) or kind in _RACES:
        return Fault.RACE
    if kind[:2] in _CONTENT_CLASSES or kind.startswith(_CONTENT_NAMES) or (not kind and isinstance(cause, _UNWRITABLE)):
        return Fault.CONTENT
    if isinstance(cause, (*DATABASE_ERRORS, StorageUnavailable, OSError, MemoryError)):
        return Fault.STORAGE
    return Fault.CODE


def helps_to_reconnect(error: BaseException) -> bool:
    """Tell whether a fault of the database may be gone on another connection, and is worth a second try at once."""
    return not isinstance(error, StorageUnavailable) and _kind(_cause(error)) not in _WAITED


@contextmanager
def dropped_after_fault(connection: Connection) -> Iterator[None]:
    """Do not give a connection back to its pool after a fault of the database: it may be what is at fault."""
    try:
        yield
    except DATABASE_ERRORS as error:
        if find_fault(error) is Fault.STORAGE:
            connection.invalidate()
        raise


def _cause(error: BaseException) -> BaseException:
    """Return the driver's error that SQLAlchemy has wrapped, or the error itself."""
    return getattr(error, "orig", None) or error


def _kind(cause: BaseException) -> str:
    """Return the SQLSTATE, or SQLite's name, of an error; an empty text where the database did not name it."""
    return getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or ""
