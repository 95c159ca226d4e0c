"""A relay on a real database in this process, with short retry delays."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from receiver.errors import StorageUnavailable, UnexpectedShape
from receiver.relay.command_runner import CommandRunner
from receiver.relay.relay import Relay
from receiver.relay.retry import RetryPolicy
from receiver.relay.target import Target
from receiver.storage.database import Database
from receiver.writer.commands.changes import ExchangeChanges
from receiver.writer.executor import R, WriterCommand

QUICK = RetryPolicy(delays_seconds=(0.01,) * 200, failure_limit=1000, poll_seconds=0.05)
"""Tries again at once, and never takes a target for dead."""


class Relaying:
    """A relay in a thread of its own.

    The results of its first `lost_results` commands are lost: they are executed, but it learns nothing. Outcomes whose error
    contains `refused_error` are refused, as the database would refuse a text that it cannot store.
    """

    def __init__(
        self, url: str, targets: tuple[Target, ...], policy: RetryPolicy, lost_results: int, refused_error: str | None
    ) -> None:
        self._database = Database(url)
        self._runner = CommandRunner(self._database)
        self._relay = Relay(targets, self._do, policy)
        self._lost_results = lost_results
        self._refused_error = refused_error
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()

    def wake(self) -> None:
        """Say that changes were made."""
        self._loop.call_soon_threadsafe(self._relay.wake)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._loop.close()
        self._runner.close()
        self._database.close()

    async def _do(self, command: WriterCommand[R]) -> R:
        errors = [outcome.error or "" for outcome in command.outcomes] if isinstance(command, ExchangeChanges) else []
        if self._refused_error is not None and any(self._refused_error in error for error in errors):
            raise UnexpectedShape("The database does not take this.")
        result = await self._runner.do(command)
        if self._lost_results:
            self._lost_results -= 1
            raise StorageUnavailable("The result was lost.")
        return result

    async def _run(self) -> None:
        self._relay.start()
        await self._stopping.wait()
        await self._relay.stop(20)


@contextmanager
def relaying(
    url: str, *targets: Target, policy: RetryPolicy = QUICK, lost_results: int = 0, refused_error: str | None = None
) -> Iterator[Relaying]:
    """Relay to these targets until the block ends."""
    relay = Relaying(url, targets, policy, lost_results, refused_error)
    try:
        yield relay
    finally:
        relay.close()
