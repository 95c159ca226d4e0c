"""`receiver relay`: a relay as a process of its own, any number of them, where the database is a server."""

import asyncio
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import structlog

from receiver.errors import ConfigurationError, ReceiverError
from receiver.relay.assembly import read_subscriptions, relaying
from receiver.settings import Settings
from receiver.storage import version
from receiver.storage.database import Database
from receiver.storage.transactions import Transactions
from receiver.storage.upkeep import Upkeep

_AGAIN_SECONDS = 2.0  # until a lost connection is tried again; lanes look every few seconds in any case

_log = structlog.get_logger()


class Clerk:
    """Calls methods of Upkeep in transactions on one connection, one after the other."""

    def __init__(self, database: Database) -> None:
        self._upkeep = Upkeep(database)
        self._transactions = Transactions(database)
        self._thread = ThreadPoolExecutor(1, "clerk")

    async def do(self, name: str, *arguments: Any) -> Any:
        """Call a method and return its result. Raises what it raises, StorageUnavailable for a fault of the database."""
        method = getattr(self._upkeep, name)

        def run() -> Any:
            return self._transactions.run(lambda connection: method(connection, *arguments))

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def close(self) -> None:
        """End after the last call."""
        self._thread.shutdown()
        self._transactions.close()


def run(settings: Settings) -> None:
    """Relay until SIGTERM or SIGINT; what is under way then is finished. Raises ConfigurationError, SchemaOutdated."""
    database = Database(settings.database_url)
    if database.has_one_writer:
        raise ConfigurationError("With SQLite the service hands the changes on itself; `receiver relay` is for PostgreSQL.")
    if not read_subscriptions(settings):
        raise ConfigurationError("There is nobody to hand changes to: set RECEIVER_HANDLERS, or [[targets]] in the file.")
    version.check(database)
    database.close_readers()
    asyncio.run(_run(settings, database))


async def _run(settings: Settings, database: Database) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    clerk = Clerk(database)
    wakers: list[Callable[[], None]] = []
    try:
        async with relaying(settings, clerk.do, wakers.append):
            listening = asyncio.create_task(_listen(database, wakers[0]))
            _log.info("relaying", database=str(database))
            await stopping.wait()
            _log.info("stopping")
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
    finally:
        clerk.close()


async def _listen(database: Database, wake: Callable[[], None]) -> None:
    while True:
        try:
            async for _ in database.changes_made():
                wake()
        except ReceiverError as error:
            _log.warning("relay_listens_again", cause=error.message)
        await asyncio.sleep(_AGAIN_SECONDS)
