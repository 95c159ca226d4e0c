"""New calls as they come: which they are, and when to look for them."""

import select
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from receiver import clock
from receiver.errors import StorageUnavailable
from receiver.storage.queries import MAX_LIMIT, DeliveryFilter, ResultPage

_SECOND = 1_000_000
_POLL_SECONDS = 1.0
_APART_SECONDS = 20  # by which the clocks of several machines may differ, and a commit be later than its time allows

Row = dict[str, Any]
Ask = Callable[[DeliveryFilter, int, str | None], ResultPage]
"""Returns a page of calls, newest first."""


class Follower:
    """Gives each call that matches once.

    A call has its id from its arrival, but is seen from its commit on, and of several processes one commits later than another.
    So each step reads again from some seconds before the newest call, and leaves out what was given before.
    """

    def __init__(self, ask: Ask, wanted: DeliveryFilter, commit_timeout_seconds: float) -> None:
        self._ask = ask
        self._wanted = wanted
        self._look_back = int((commit_timeout_seconds + _APART_SECONDS) * _SECOND)
        self._since = 0
        self._given: set[str] = set()

    def begin(self, now: int, limit: int) -> list[Row]:
        """Return the last calls that there are, oldest first."""
        since = self._edge(now)
        known = self._read_since(since)  # before the last ones are read: what comes in between is either shown or new
        last = self._ask(self._wanted, limit, None).items
        self._remember(since, [*known, *last])
        return last[::-1]

    def step(self, now: int) -> list[Row]:
        """Return the calls that are new since the last time, oldest first. Raises StorageUnavailable; then ask again later."""
        since = self._edge(now)  # before reading, so that nothing stands between the newest call and what is read
        found = self._read_since(self._since)
        new = [row for row in found if row["id"] not in self._given]
        self._remember(max(since, self._since), found)
        return new[::-1]

    def _edge(self, now: int) -> int:
        """Return from where on a call may still be committed: before the newest one of all, and before the present."""
        newest = self._ask(DeliveryFilter(), 1, None).items
        if not newest:
            return 0
        received_at = clock.to_micros(datetime.fromisoformat(newest[0]["received_at"]))
        return max(0, min(now, received_at) - self._look_back)

    def _read_since(self, since: int) -> list[Row]:
        wanted = self._wanted._replace(since=max(since, self._wanted.since or 0))
        page = self._ask(wanted, MAX_LIMIT, None)
        found = page.items
        while page.next is not None:
            page = self._ask(wanted, MAX_LIMIT, page.next)
            found += page.items
        return found

    def _remember(self, since: int, rows: list[Row]) -> None:
        first = clock.first_id(since)
        self._since = since
        self._given = {row["id"] for row in rows if row["id"] >= first}


def follow(
    follower: Follower,
    limit: int,
    complain: Callable[[str], None],
    now: Callable[[], datetime],
    wait: Callable[[float], object],
) -> Iterator[Row]:
    """Give the last calls, then each new one, for ever. A database that is away is waited for, and said to be so once."""
    yield from follower.begin(clock.to_micros(now()), limit)
    away = False
    while True:
        wait(_POLL_SECONDS)
        try:
            rows = follower.step(clock.to_micros(now()))
        except StorageUnavailable as error:
            if not away:
                complain(f"{error.message}. Waiting for it.")
            away = True
            continue
        if away:
            complain("The database is there again.")
        away = False
        yield from rows


def wait_for_more(seconds: float) -> None:
    """Wait. Raises BrokenPipeError as soon as nobody reads any more what is printed."""
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)  # no event is asked for: that the other end is gone is always told
    if reader.poll(seconds * 1000):
        raise BrokenPipeError
