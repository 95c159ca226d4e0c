"""The connection of a relay to a database that several processes write to."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from receiver.storage.database import Database
from receiver.storage.transactions import Transactions
from receiver.writer.commands import WriterCommands


class CommandRunner:
    """Calls methods of Upkeep in transactions on one connection, one after the other."""

    def __init__(self, database: Database) -> None:
        self._writer_commands = WriterCommands(database)
        self._transactions = Transactions(database)
        self._thread = ThreadPoolExecutor(1, "clerk")

    async def do(self, name: str, *arguments: Any) -> Any:
        """Call a method and return its result. Raises what it raises, StorageUnavailable for a fault of the database."""
        method = getattr(self._writer_commands, name)

        def run() -> Any:
            return self._transactions.run(lambda connection: method(connection, *arguments))

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def close(self) -> None:
        """End after the last call."""
        self._thread.shutdown()
        self._transactions.close()
