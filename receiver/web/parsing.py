"""A queue of bytes to parse: all connections together get a bounded part of each turn of the event loop.

Ordinary requests never wait here (`web/protocol.py`). Large ones do, and those that are expensive to parse for their size, such
as thousands of header lines or chunks of one byte.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

_TURN_SECONDS = 0.002


class ParsingQueue:
    """Connections with bytes left to parse. Each parses one slice, then it is the turn of the next one."""

    def __init__(self, turn_seconds: float = _TURN_SECONDS, clock: Callable[[], float] = monotonic) -> None:
        self._turn_seconds = turn_seconds
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_scheduled = False

    def put(self, loop: asyncio.AbstractEventLoop, parse: Callable[[], None]) -> None:
        """Call `parse` in a later turn of the loop. It parses one slice, and is put here again if bytes are left."""
        self._waiting.append(parse)
        self._schedule(loop)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._run, loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        deadline = self._clock() + self._turn_seconds
        try:
            while self._waiting and self._clock() < deadline:
                self._waiting.popleft()()
        finally:
            self._is_scheduled = False
            self._schedule(loop)
