"""Reads from the database beside the event loop, a few at a time, so that many questions cannot crowd out the calls."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
_AT_ONCE = 4


class Reader:
    """Runs queries in threads."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def read(self, query: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a query returns, and raise what it raises."""
        async with self._places:
            return await asyncio.to_thread(query, *args, **kwargs)
