"""Queries in threads beside the event loop, a few at a time, so that many queries cannot slow down deliveries."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from receiver.storage import version
from receiver.storage.database import Database

_P = ParamSpec("_P")
_T = TypeVar("_T")
_AT_ONCE = 4


class Reader:
    """Runs queries in threads, after a check of the tables' version."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def read(self, query: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a query and return its result. Raises SchemaOutdated, and the errors of the query."""
        async with self._slots:
            return await asyncio.to_thread(self._read, partial(query, *args, **kwargs))

    def _read(self, query: Callable[[], _T]) -> _T:
        version.check(self._database)
        return query()
