"""Detects that a relay process has to be replaced: handlers that never end, or no more files, threads or memory.

Handlers share the process with the relay: what one of them leaks, all others lack. Only the end of the process frees it.
"""

import asyncio
import os
import threading
from collections.abc import Callable

_MIN_FILES = 8
_MIN_MEMORY_BYTES = 16 << 20
_LOOK_SECONDS = 2.0


class Wear:
    """Decides when this process has to be replaced. `limit`: how many handlers may run on after their time-out."""

    def __init__(self, limit: int, on_worn: Callable[[], None]) -> None:
        self._limit = limit
        self._on_worn = on_worn
        self._stuck_calls = 0
        self.lacks: str | None = None

    def add_stuck_call(self) -> None:
        """Count a handler that runs on after its time-out."""
        self._stuck_calls += 1
        if self._stuck_calls == self._limit:
            self._on_worn()

    def is_exhausted(self) -> bool:
        """Return whether this process has run out of a resource."""
        if self.lacks is None and (lacks := find_lack()) is not None:
            self.lacks = lacks
            self._on_worn()
        return self.lacks is not None

    async def look(self) -> None:
        """Check regularly until a resource has run out: a handler that uses too much need not fail."""
        while not self.is_exhausted():  # noqa: ASYNC110  there is no event for it
            await asyncio.sleep(_LOOK_SECONDS)


def find_lack() -> str | None:
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
    threading.Thread(target=_end, name="wear", daemon=True).start()


def _end() -> None:
    """Do nothing in a thread."""
