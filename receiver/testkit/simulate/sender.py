"""Sends deliveries when they are due, whether earlier ones have succeeded or not (open loop), and repeats failed ones.

Latency counts from the time when a delivery was due, so the delay of a receiver that stalls counts for every delivery behind it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from heapq import heapify, heappop, heappush
from time import monotonic
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from receiver.testkit.http import HttpClient, HttpConnection, NoReply, Reply
from receiver.testkit.marking import Marker, NotMarked, ask, is_taken_as_real
from receiver.testkit.ship24 import TIMEOUT_SECONDS
from receiver.testkit.simulate.answers import read_answer
from receiver.testkit.simulate.ledger import Attempt, AttemptLog
from receiver.testkit.simulate.records import Phase, PlannedDelivery, TrafficPlan

_TICK_SECONDS = 0.25
_MINUTE, _HOUR = 60.0, 3600.0
_USER_AGENT = "receiver-simulate"


class SimulationTarget(NamedTuple):
    """Where to send: a URL for each kind of delivery, the token, and the maximum number of connections.

    `steps` are the pauses after each failed attempt, in seconds. Shiipp publishes no time-out; Ship24's is used for both.
    Without a `marker` the receiver takes all deliveries for real ones.
    """

    urls: Mapping[str, str]
    token: str
    steps: tuple[float, ...]
    connections: int = 32
    timeout_seconds: float = TIMEOUT_SECONDS
    marker: Marker | None = None

    def __repr__(self) -> str:
        return "SimulationTarget()"  # it contains a token, and a URL may contain one


class Progress(NamedTuple):
    """The progress of a phase. `waiting` deliveries failed and will be repeated; `failure` is the result of the last one."""

    phase: Phase | Literal["ops"]
    total: int
    done: int
    retries: int = 0
    waiting: int = 0
    failure: str = ""


OnProgress = Callable[[Progress], None]


class DueDelivery(NamedTuple):
    """An attempt at a delivery, with the moment at which it is due. `number` decides between equal moments."""

    due_at: float
    number: int
    attempt: int
    delivery: PlannedDelivery


def retry_steps(source: str, scale: float) -> tuple[float, ...]:
    """Return the pauses after each failed attempt, in seconds; `scale` shortens the vendor's own.

    Ship24 makes 20 attempts in about six days, the second after 12 minutes, at most 12 hours apart (the vendor's own code).
    Shiipp repeats up to five times, ever further apart (its documentation gives no figures: ten minutes, doubled each time).
    """
    if source == "ship24":
        return tuple(min(12 * _MINUTE * 1.5**step, 12 * _HOUR) * scale for step in range(19))
    return tuple(10 * _MINUTE * 2**step * scale for step in range(5))


class Sender:
    """Some tasks with a connection each. The result of every attempt goes to the log of attempts."""

    def __init__(self, plan: TrafficPlan, target: SimulationTarget, ledger: AttemptLog, client: HttpClient) -> None:
        self._plan = plan
        self._target = target
        self._ledger = ledger
        self._changed = asyncio.Event()
        self._due: list[DueDelivery] = []
        self._numbers = 0
        self._left = 0
        self._waiting = 0
        self._is_taken_as_real = False
        self._ready: asyncio.Queue[DueDelivery] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._work(client)) for _ in range(target.connections)]

    async def send(self, deliveries: Sequence[PlannedDelivery], on_progress: OnProgress) -> None:
        """Send the deliveries of one phase; return when each was accepted or has failed for the last time. Raises NotMarked."""
        if not deliveries:
            return
        began = reported_at = monotonic()
        self._due = [DueDelivery(began + each.due_seconds, number, 1, each) for number, each in enumerate(deliveries)]
        heapify(self._due)
        self._numbers = self._left = len(deliveries)
        before = self._ledger.retries
        while self._left:
            await self._wait(self._hand_out())
            if self._is_taken_as_real:
                raise NotMarked
            if self._left and monotonic() < reported_at:
                continue
            reported_at = monotonic() + _TICK_SECONDS
            done, retries = len(deliveries) - self._left, self._ledger.retries - before
            on_progress(Progress(deliveries[0].phase, len(deliveries), done, retries, self._waiting, self._ledger.failure))

    def was_accepted(self) -> bool:
        """Return whether any delivery was accepted."""
        return self._ledger.accepted > 0

    async def close(self) -> None:
        """Cancel requests in progress; they do not count."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hand_out(self) -> float:
        """Hand out due deliveries; return the seconds until the next step."""
        now = monotonic()
        while self._due and self._due[0].due_at <= now:
            due = heappop(self._due)
            self._waiting -= due.attempt > 1
            self._ready.put_nowait(due)
        return min(_TICK_SECONDS, self._due[0].due_at - now) if self._due else _TICK_SECONDS

    async def _wait(self, seconds: float) -> None:
        """Wait for the end of an attempt, for a bounded time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    async def _work(self, client: HttpClient) -> None:
        connections: dict[str, HttpConnection] = {}
        while True:
            due = await self._ready.get()
            origin = origin_of(self._target.urls[self._plan.kind(due.delivery)])
            if origin not in connections:
                connections[origin] = client.connect()
            await self._try(due, connections[origin])

    async def _try(self, due: DueDelivery, connection: HttpConnection) -> None:
        started_at = monotonic()
        reply = await post(connection, self._target, self._plan, due.delivery)
        is_repeated = isinstance(reply, NoReply) and reply.was_kept and reply.problem == "connection"
        if is_repeated:  # a kept connection may end at any time, which is no fault of the receiver
            reply = await post(connection, self._target, self._plan, due.delivery)
        is_last = due.attempt > len(self._target.steps)
        attempt = Attempt(due.attempt, due.due_at, started_at, monotonic(), is_last, is_repeated)
        self._settle(due.delivery, attempt, reply)

    def _settle(self, delivery: PlannedDelivery, attempt: Attempt, reply: Reply) -> None:
        reading = read_answer(reply, [self._plan.messages[number].id for number in delivery.messages])
        self._ledger.note(delivery, attempt, reply, reading)
        self._is_taken_as_real |= is_taken_as_real(self._target.marker, reply)
        if reading.accepted or attempt.is_last:
            self._left -= 1
        else:
            self._numbers += 1
            again_at = attempt.ended_at + self._target.steps[attempt.number - 1]
            heappush(self._due, DueDelivery(again_at, self._numbers, attempt.number + 1, delivery))
            self._waiting += 1
        self._changed.set()


async def probe(connection: HttpConnection, url: str, marker: Marker | None) -> Reply:
    """Send HEAD without a token, as Ship24 does before a URL can be saved. Raises NotMarked."""
    headers = {"User-Agent": _USER_AGENT}
    return await (connection.call("HEAD", url, headers) if marker is None else ask(connection, url, headers, marker))


async def post(connection: HttpConnection, target: SimulationTarget, plan: TrafficPlan, delivery: PlannedDelivery) -> Reply:
    """Post a delivery as both vendors do."""
    authorization, body = f"Bearer {target.token}", plan.body(delivery)
    headers = {"Authorization": authorization, "Content-Type": "application/json", "User-Agent": _USER_AGENT}
    if target.marker is not None:
        headers |= target.marker.headers([authorization], body)
    return await connection.call("POST", target.urls[plan.kind(delivery)], headers, body)


def origin_of(url: str) -> str:
    """Return scheme and host of a URL; unlike its path and its query they are no secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
