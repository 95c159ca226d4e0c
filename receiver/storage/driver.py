"""Statements that go straight to the driver, inside the transaction of an SQLAlchemy connection.

For each statement SQLAlchemy makes a context, a result and its metadata, which takes longer than a short statement itself. The
errors are the same as those of its own `exec_driver_sql`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def run(connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> Any:
    """Run a statement in the transaction of the connection, which begins one if there is none; return the driver's cursor."""
    if not connection.in_transaction():
        connection.begin()
    return send(connection, statement, parameters)


def send(connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> Any:
    """Run a statement without a look at transactions: a listener of SQLAlchemy begins one with it."""
    driver: Any = connection.connection.driver_connection
    for hear in connection.dispatch.before_cursor_execute:
        hear(connection, None, statement, parameters, None, False)  # noqa: FBT003  as SQLAlchemy calls it
    try:
        return driver.execute(statement, parameters)
    except Exception as error:
        if isinstance(error, connection.dialect.loaded_dbapi.Error):
            raise _wrap(connection, statement, error) from error
        raise


@contextmanager
def pipelined(connection: Connection, *, is_wanted: bool = True) -> Iterator[None]:
    """Send the statements of a block without waiting for each result, where the driver can; after the block all have theirs.

    A later statement, or the end of the block, may raise the error of an earlier one. It is the first error that the server
    reported: of the statements after it the server runs none. Statements of SQLAlchemy need their results at once and must not
    be in the block.
    """
    driver: Any = connection.connection.driver_connection
    if not is_wanted or not hasattr(driver, "pipeline"):
        yield
        return
    try:
        with driver.pipeline():
            yield
    except connection.dialect.loaded_dbapi.Error as error:
        raise _wrap(connection, "", error) from error


def _wrap(connection: Connection, statement: str, error: Exception) -> BaseException:
    """Return the error of SQLAlchemy for one of the driver. A connection that is lost becomes invalid, as SQLAlchemy does it."""
    is_lost = connection.dialect.is_disconnect(error, connection.connection.dbapi_connection, None)  # type: ignore[arg-type]
    wrapped = DBAPIError.instance(
        statement,
        None,
        error,
        connection.dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=connection.dialect,
    )
    if is_lost:
        connection.invalidate(error)
    return wrapped
