"""A result kept for a moment, so that however many ask, it is computed once."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

_T = TypeVar("_T")

SHORT_SECONDS = 1.0
"""For what strangers may ask: a change shows within about this time."""


class Cached(Generic[_T]):
    """The result of `compute`, for so many seconds after it is there. Those who ask meanwhile wait for the same one."""

    def __init__(
        self, compute: Callable[[], Awaitable[_T]], seconds: float = SHORT_SECONDS, now: Callable[[], float] = monotonic
    ) -> None:
        self._compute = compute
        self._seconds = seconds
        self._now = now
        self._computing = asyncio.Lock()
        self._kept: tuple[float, _T] | None = None

    async def get(self) -> _T:
        """Return the result. Raises what computing it raises, to the one who waits for that; the next one tries again."""
        async with self._computing:
            if self._kept is None or self._now() - self._kept[0] >= self._seconds:
                found = await self._compute()
                self._kept = self._now(), found
            return self._kept[1]
