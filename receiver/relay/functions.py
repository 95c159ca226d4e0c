"""Functions of the user's own as targets."""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from receiver.changes import Change
from receiver.handlers import subscription_of

_TIMEOUT_SECONDS = 60.0


class HandlerTarget:
    """One function as a target. One that is not async runs in `threads`."""

    timeout_seconds = _TIMEOUT_SECONDS

    def __init__(self, function: Callable[[Change], Any], threads: Executor) -> None:
        self.subscription = subscription_of(function)
        self._function = function
        self._threads = threads

    async def deliver(self, change: Change) -> None:
        """Call the function. Raises what it raises."""
        if inspect.iscoroutinefunction(self._function):
            await self._function(change)
        else:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._function, change)

    async def close(self) -> None:
        """There is nothing to let go of."""
