"""What needs psycopg itself. It takes 0.2 s to import, so `engines` and `database` import this only for PostgreSQL."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import structlog
from psycopg import AsyncConnection, ProgrammingError
from psycopg.conninfo import make_conninfo

from receiver.storage.notifications import CHANGES_CHANNEL

_log = structlog.get_logger()


def knows_options(arguments: dict[str, Any]) -> bool:
    """Tell whether libpq knows all options of a connection."""
    try:
        make_conninfo(**arguments)
    except ProgrammingError:
        return False
    return True


async def listen(arguments: dict[str, Any]) -> AsyncGenerator[None]:
    """Yield once at the start, and whenever a process has committed changes; behind a pooler only at the start.

    Raises an error of psycopg when the server is gone.
    """
    listener = await _connect(arguments)
    if listener is None:
        _log.warning("changes_polled", cause="a connection pooler drops notifications, so relays poll every few seconds")
        yield
        await asyncio.Event().wait()
        return
    async with listener as connection:
        await connection.execute(f"LISTEN {CHANGES_CHANNEL}")
        yield
        async for _ in connection.notifies():
            yield


async def _connect(arguments: dict[str, Any]) -> AsyncConnection | None:
    """Open a connection that waits for notifications; None behind a pooler, which has no sessions for that."""
    connection = await AsyncConnection.connect(autocommit=True, **arguments)
    row = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    if row is not None and row[0] == connection.info.backend_pid:
        return connection
    await connection.close()
    return None
