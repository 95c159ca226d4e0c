"""A result that is computed once for all requests within a short time."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

_T = TypeVar("_T")

SHORT_SECONDS = 1.0
"""For results that anybody may request: they are at most about this old."""


class Cached(Generic[_T]):
    """The result of `compute`, valid for a number of seconds. Requests during the computation wait for the same result."""

    def __init__(
        self, compute: Callable[[], Awaitable[_T]], seconds: float = SHORT_SECONDS, now: Callable[[], float] = monotonic
    ) -> None:
        self._compute = compute
        self._seconds = seconds
        self._now = now
        self._computing = asyncio.Lock()
        self._result: tuple[float, _T] | None = None

    async def get(self) -> _T:
        """Return the result. An error of `compute` reaches the request that started it; the next request tries again."""
        async with self._computing:
            if self._result is None or self._now() - self._result[0] >= self._seconds:
                found = await self._compute()
                self._result = self._now(), found
            return self._result[1]
