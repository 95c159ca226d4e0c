"""Causes of errors in transactions. Only content that the database cannot store may be blamed on a message.

PostgreSQL names the kind of an error by the class of its SQLSTATE (manual, appendix A), SQLite by its result code
(sqlite.org/rescode.html). An error of an unlisted kind counts as a fault of the database.

Our tables have keys and NOT NULL columns, but no other constraint, and no length of a text. Whatever refuses a row for such a
reason was added by somebody (`additions`), and is a fault of the database too.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from sqlite3 import Error as SQLiteError

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from receiver.errors import StorageUnavailable
from receiver.storage.tables.metadata import METADATA

_RACES = {"40001", "40P01"}  # serialization failure, deadlock
_VALUE_CLASSES = {"22", "23", "54"}  # data exception, integrity constraint violation, program limit exceeded
_VALUE_NAMES = ("SQLITE_CONSTRAINT", "SQLITE_TOOBIG", "SQLITE_MISMATCH")
_NO_REFUSALS = {"08", "25", "28", "40", "53", "55", "57", "58", "XX"}  # classes about the server, a session or a race
_TOO_LONG = "22001"  # no text column of ours has a length
_KEYS = {"23505", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"}
_NULLS = {"23502", "SQLITE_CONSTRAINT_NOTNULL"}
_UNWRITABLE = (UnicodeEncodeError, OverflowError)  # values that a driver cannot send: half a surrogate pair, 65 bits
_FULL = {"53100", "SQLITE_FULL"}  # disk full
_WAITED = {"55P03", "57014", "SQLITE_BUSY", "SQLITE_LOCKED"}  # lock not available, query canceled: the time was up


def database_errors() -> tuple[type[Exception], ...]:
    """Return the errors of SQLAlchemy and the drivers. SQLAlchemy wraps an error of a driver only if it belongs to a statement.

    An error of psycopg exists only where psycopg is imported, which takes 0.2 s and which SQLite does without.
    """
    return (SQLAlchemyError, SQLiteError, *_find_in_psycopg("Error"))


def _find_in_psycopg(name: str) -> tuple[type[Exception], ...]:
    """Return an error of psycopg, or nothing if psycopg is not imported."""
    found = getattr(sys.modules.get("psycopg"), name, None)
    return () if found is None else (found,)


class LostRace(Exception):
    """Another process inserted the same key first. This transaction is rolled back and decided again."""


class Fault(StrEnum):
    """The cause of an error: another process was first, the content, the database, or our own code."""

    RACE = "race"
    CONTENT = "content"
    STORAGE = "storage"
    CODE = "code"


def find_fault(error: BaseException) -> Fault:
    """Return the cause of an error that ended a transaction."""
    cause = _cause(error)
    kind = _kind(cause)
    if isinstance(cause, LostRace) or kind in _RACES:
        return Fault.RACE
    if (_is_of_values(kind) and _may_be_content(cause, kind)) or (not kind and _is_unwritable(cause)):
        return Fault.CONTENT
    if isinstance(cause, (*database_errors(), StorageUnavailable, OSError, MemoryError)):
        return Fault.STORAGE
    return Fault.CODE


def helps_to_reconnect(error: BaseException) -> bool:
    """Tell whether a new connection may cure a fault of the database, so that an immediate retry makes sense."""
    return not isinstance(error, StorageUnavailable) and _kind(_cause(error)) not in _WAITED


def is_refusal(error: BaseException) -> bool:
    """Tell whether the database refused a row. A trigger may raise any error, and an index that calls a function too."""
    kind = _kind(_cause(error))
    if kind.startswith("SQLITE_"):
        return _is_of_values(kind) or kind == "SQLITE_ERROR"
    return bool(kind) and kind[:2] not in _NO_REFUSALS


def quotes_value(error: BaseException) -> bool:
    """Tell whether the message of an error may quote a value."""
    return _kind(_cause(error)).startswith("22")


def is_disk_full(error: BaseException) -> bool:
    """Tell whether the database found no room on its disk."""
    return _kind(_cause(error)) in _FULL


@contextmanager
def dropped_after_fault(connection: Connection) -> Iterator[None]:
    """Close a connection after a fault of the database instead of returning it to its pool: the connection may be broken."""
    try:
        yield
    except database_errors() as error:
        if find_fault(error) is Fault.STORAGE:
            connection.invalidate()
        raise


def _is_of_values(kind: str) -> bool:
    return kind[:2] in _VALUE_CLASSES or kind.startswith(_VALUE_NAMES)


def _may_be_content(cause: BaseException, kind: str) -> bool:
    """Tell whether a column or constraint of ours may have refused a value, and not one that somebody added."""
    if kind in _KEYS or kind in _NULLS:
        return _names_ours(cause, is_key=kind in _KEYS)
    return kind[:2] != "23" and not kind.startswith("SQLITE_CONSTRAINT") and kind != _TOO_LONG


def _names_ours(cause: BaseException, *, is_key: bool) -> bool:
    """Tell whether an error names a key, or a NOT NULL column, of our tables."""
    found = getattr(cause, "diag", None)
    if found is not None:
        table, names = found.table_name, {found.constraint_name if is_key else found.column_name}
    else:  # SQLite says `UNIQUE constraint failed: messages.source, messages.message_id`
        columns = [name.split(".") for name in str(cause).rpartition(": ")[2].split(", ")]
        table, names = columns[0][0], {column[-1] for column in columns}
    ours = METADATA.tables.get(table or "")
    if ours is None:
        return False
    if not is_key:
        return all(name in ours.c and not ours.c[name].nullable for name in names)
    return names == ({ours.primary_key.name} if found is not None else set(ours.primary_key.columns.keys()))


def _cause(error: BaseException) -> BaseException:
    """Return the driver's error inside an error of SQLAlchemy, or the error itself."""
    return getattr(error, "orig", None) or error


def _is_unwritable(cause: BaseException) -> bool:
    """Tell whether a driver could not send a value, such as text with NUL."""
    return isinstance(cause, (*_UNWRITABLE, *_find_in_psycopg("DataError")))


def _kind(cause: BaseException) -> str:
    """Return the SQLSTATE or SQLite's name of an error; empty if the database gave none."""
    return getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or ""
