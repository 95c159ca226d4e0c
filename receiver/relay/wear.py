"""Why a relay process has to be replaced: calls that never end, and files, threads or memory that it has no more of.

Handlers share the process with the relay: what one of them leaves open all others lack. Only the end of the process frees it.
"""

import asyncio
import os
import threading
from collections.abc import Callable

_MIN_FILES = 8
_MIN_MEMORY_BYTES = 16 << 20
_LOOK_SECONDS = 2.0


class Wear:
    """Knows when this process has to be replaced. `limit` is how many calls may go on after their time-out."""

    def __init__(self, limit: int, on_worn: Callable[[], None]) -> None:
        self._limit = limit
        self._on_worn = on_worn
        self._stuck_calls = 0
        self.lacks: str | None = None

    def add_stuck_call(self) -> None:
        """Count one more call that goes on after its time-out."""
        self._stuck_calls += 1
        if self._stuck_calls == self._limit:
            self._on_worn()

    def is_exhausted(self) -> bool:
        """Look whether this process has no more of something that it needs."""
        if self.lacks is None and (lacks := find_lack()) is not None:
            self.lacks = lacks
            self._on_worn()
        return self.lacks is not None

    async def look(self) -> None:
        """Look now and then, until something is lacking: not every call that takes too much fails."""
        while not self.is_exhausted():  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(_LOOK_SECONDS)


def find_lack() -> str | None:
    """Return what this process has no more of, in words, or None. Takes a little of everything and gives it back."""
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
    """Be a thread that has nothing to do."""
