"""New deliveries, for `deliveries list --follow`: each matching delivery once, as soon as it is committed."""

import select
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from receiver import clock
from receiver.cli._lists import read_items
from receiver.errors import StorageUnavailable
from receiver.storage.queries import DeliveryFilter, ResultPage

_SECOND = 1_000_000
_POLL_SECONDS = 1.0
_SKEW_SECONDS = 20  # difference between the clocks of several machines, and delay of a commit beyond its time-out

Row = dict[str, Any]
Ask = Callable[[DeliveryFilter, int, str | None], ResultPage]
"""Returns a page of deliveries, newest first."""


class Follower:
    """A reader that yields each matching delivery once.

    A delivery gets its ID when it arrives and becomes visible when it is committed, so a later ID may become visible first. Each
    step therefore reads again from some seconds before the newest delivery, and leaves out those that it has yielded before.
    """

    def __init__(self, ask: Ask, wanted: DeliveryFilter, commit_timeout_seconds: float) -> None:
        self._ask = ask
        self._wanted = wanted
        self._look_back = int((commit_timeout_seconds + _SKEW_SECONDS) * _SECOND)
        self._since = 0
        self._yielded: set[str] = set()

    def begin(self, now: int, limit: int) -> list[Row]:
        """Return the latest deliveries, oldest first."""
        since = self._edge(now)
        known = self._read_since(since)  # read before the latest, so that one committed in between is either among them or new
        last = self._ask(self._wanted, limit, None).items
        self._remember(since, [*known, *last])
        return last[::-1]

    def step(self, now: int) -> list[Row]:
        """Return the new deliveries, oldest first. Raises StorageUnavailable; call it again later."""
        since = self._edge(now)  # before reading, so that no delivery is missed between the two
        found = self._read_since(self._since)
        new = [row for row in found if row["id"] not in self._yielded]
        self._remember(max(since, self._since), found)
        return new[::-1]

    def _edge(self, now: int) -> int:
        """Return the earliest arrival of a delivery that may still become visible."""
        newest = self._ask(DeliveryFilter(), 1, None).items
        if not newest:
            return 0
        received_at = clock.to_micros(datetime.fromisoformat(newest[0]["received_at"]))
        return max(0, min(now, received_at) - self._look_back)

    def _read_since(self, since: int) -> list[Row]:
        wanted = self._wanted._replace(since=max(since, self._wanted.since or 0))
        return list(read_items(partial(self._ask, wanted)))

    def _remember(self, since: int, rows: list[Row]) -> None:
        first = clock.first_id(since)
        self._since = since
        self._yielded = {row["id"] for row in rows if row["id"] >= first}


def follow(
    follower: Follower,
    limit: int,
    complain: Callable[[str], None],
    now: Callable[[], datetime],
    wait: Callable[[float], object],
) -> Iterator[Row]:
    """Yield the latest deliveries, then each new one, without end. While the database is unavailable, complain once and wait."""
    yield from follower.begin(clock.to_micros(now()), limit)
    is_unavailable = False
    while True:
        wait(_POLL_SECONDS)
        try:
            rows = follower.step(clock.to_micros(now()))
        except StorageUnavailable as error:
            if not is_unavailable:
                complain(f"{error.message.rstrip('.')}. Waiting for the database.")
            is_unavailable = True
            continue
        if is_unavailable:
            complain("The database is available again.")
        is_unavailable = False
        yield from rows


def wait_for_more(seconds: float) -> None:
    """Wait. Raises BrokenPipeError as soon as the reader of standard output closes the pipe."""
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)  # asks for no event; poll always reports a closed pipe
    if reader.poll(seconds * 1000):
        raise BrokenPipeError
