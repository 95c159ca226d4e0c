"""Detects that a relay process has to be replaced: its handlers never end, or it has run out of files, threads or memory.

Handlers share the process with the relay, so a resource that one of them leaks is missing for all. Only the end of the process
frees it.
"""

import asyncio
import os
import threading
from collections.abc import Callable

_MIN_FILES = 8
_MIN_MEMORY_BYTES = 16 << 20
_CHECK_SECONDS = 2.0


class ProcessHealth:
    """Decides when this process has to be replaced. `limit`: how many handlers may run on after their time-out."""

    def __init__(self, limit: int, on_unhealthy: Callable[[], None]) -> None:
        self._limit = limit
        self._on_unhealthy = on_unhealthy
        self._stuck_calls = 0
        self.exhausted: str | None = None

    def add_stuck_call(self) -> None:
        """Count a handler that runs on after its time-out."""
        self._stuck_calls += 1
        if self._stuck_calls == self._limit:
            self._on_unhealthy()

    def is_exhausted(self) -> bool:
        """Return whether this process has run out of a resource."""
        if self.exhausted is None and (exhausted := find_exhausted_resource()) is not None:
            self.exhausted = exhausted
            self._on_unhealthy()
        return self.exhausted is not None

    async def watch(self) -> None:
        """Check regularly until a resource has run out: a handler that uses too much need not fail."""
        while not self.is_exhausted():  # noqa: ASYNC110  there is no event for it
            await asyncio.sleep(_CHECK_SECONDS)


def find_exhausted_resource() -> str | None:
    """Return the resource that this process has run out of, or None. Takes a little of each and gives it back."""
    for name, take in (("memory", _take_memory), ("file descriptors", _take_files), ("threads", _take_thread)):
        try:
            take()
        except (MemoryError, OSError, RuntimeError):
            return name
    return None


def _take_memory() -> None:
    bytearray(_MIN_MEMORY_BYTES)  # reserved, not written


def _take_files() -> None:
    files: list[int] = []
    try:
        files.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(_MIN_FILES))
    finally:
        for file in files:
            os.close(file)


def _take_thread() -> None:
    threading.Thread(target=_end, name="process health", daemon=True).start()


def _end() -> None:
    """Do nothing: the start of the thread was the test."""
