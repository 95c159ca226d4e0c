"""Executes the commands of a relay directly in the database: on PostgreSQL several processes may write."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from receiver.storage.database import Database
from receiver.storage.transactions import Transactions
from receiver.writer.executor import CommandExecutor, R, WriterCommand


class CommandRunner:
    """Executes commands on one connection, one after the other."""

    def __init__(self, database: Database) -> None:
        self._transactions = Transactions(database)
        self._executor = CommandExecutor(database, self._transactions)
        self._thread = ThreadPoolExecutor(1, "commands")

    async def do(self, command: WriterCommand[R]) -> R:
        """Execute a command and return its result. Raises its error, and StorageUnavailable for a fault of the database."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._executor.do, command)

    def close(self) -> None:
        """Close after the last command."""
        self._thread.shutdown()
        self._transactions.close()
