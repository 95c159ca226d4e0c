"""Cached values: requests within the time cost nothing, and a change shows when it is over."""

import asyncio
import socket
from collections.abc import Iterator
from itertools import count

import pytest
from starlette.requests import Request
from starlette.responses import Response

from receiver.monitoring.cached import SHORT_SECONDS, Cached
from receiver.monitoring.health import Health
from receiver.storage.database import Database
from receiver.writer.client import WriterClient
from receiver.writer.counters import Counters
from tests.harness.storage import make_tables, update_rows


class Clock:
    """A clock that moves only when the test sets it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Computing:
    """Counts how often it computes; each time ends when the event is set, or fails if there is an error."""

    def __init__(self) -> None:
        self.times = count(1)
        self.begun = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.begun = next(self.times)
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return self.begun


def test_all_who_ask_at_once_share_one_computation() -> None:
    async def ask() -> tuple[list[int], int]:
        computing = Computing()
        cached = Cached(computing, now=Clock())
        asking = [asyncio.create_task(cached.get()) for _ in range(100)]
        await asyncio.sleep(0)
        computing.may_end.set()
        return await asyncio.gather(*asking), computing.begun

    assert asyncio.run(ask()) == ([1] * 100, 1)


def test_a_result_is_computed_again_when_its_time_is_over_and_not_before() -> None:
    async def ask() -> list[int]:
        computing, clock = Computing(), Clock()
        computing.may_end.set()
        cached = Cached(computing, 2.0, clock)
        found = [await cached.get()]
        for seconds in (1.9, 0.1, 1.9, 0.2):
            clock.seconds += seconds
            found.append(await cached.get())
        return found

    assert asyncio.run(ask()) == [1, 1, 2, 2, 3]


def test_a_failure_is_not_cached_and_a_request_that_is_cancelled_does_not_cancel_the_others() -> None:
    async def ask() -> tuple[int, int]:
        computing = Computing()
        cached = Cached(computing, now=Clock())
        leaving, waiting = asyncio.create_task(cached.get()), asyncio.create_task(cached.get())
        await asyncio.sleep(0)
        leaving.cancel()
        computing.may_end.set()
        computing.error = OSError()
        with pytest.raises(OSError):  # noqa: PT011  it has no words
            await waiting
        computing.error = None
        return await cached.get(), computing.begun

    assert asyncio.run(ask()) == (3, 3)


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    make_tables(sqlite_url)
    opened = Database(sqlite_url)
    yield opened
    opened.close()


def test_readiness_asks_the_database_at_most_once_a_second_and_then_shows_a_change(database: Database, sqlite_url: str) -> None:
    async def ask() -> list[int]:
        ours, theirs = socket.socketpair()
        writer_client, clock = WriterClient(10, 60, lambda: None, Counters()), Clock()
        await writer_client.open(ours)
        health = Health(database, writer_client, list, clock)
        request = Request({"type": "http", "headers": []})
        with theirs:
            answers: list[Response] = [await health.readyz(request)]
            update_rows(sqlite_url, "alembic_version", version_num="another")
            answers.append(await health.readyz(request))
            clock.seconds += SHORT_SECONDS
            answers.append(await health.readyz(request))
            update_rows(sqlite_url, "alembic_version", version_num="yet another")
        return [answer.status_code for answer in answers]

    assert asyncio.run(ask()) == [200, 200, 503]
