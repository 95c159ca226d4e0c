"""Sends calls at the moments at which they are due, whatever became of those before (open loop), and again after a failure.

A latency counts from the moment at which its call was due, so a receiver that stalls is not spared the calls that it held up.
"""

from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from queue import SimpleQueue
from threading import Condition, Thread
from time import monotonic
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from receiver.testkit.simulate.answers import read_answer
from receiver.testkit.simulate.ledger import Attempt, AttemptLog
from receiver.testkit.simulate.records import Phase, PlannedDelivery, TrafficPlan
from receiver.testkit.simulate.wire import Wire, WirePool, WireReply

TIMEOUT_SECONDS = 15.0
"""Within which an answer has to be there. Source: Ship24 documentation, "Webhooks"; Shiipp publishes none."""

_TICK_SECONDS = 0.25
_MINUTE, _HOUR = 60.0, 3600.0


class SimulationTarget(NamedTuple):
    """Where to send, and how: a URL for each kind of call, the token, and so many connections at most.

    `steps` are the seconds that are waited after each attempt that failed.
    """

    urls: Mapping[str, str]
    token: str
    steps: tuple[float, ...]
    connections: int = 32
    timeout_seconds: float = TIMEOUT_SECONDS

    def __repr__(self) -> str:
        return "Target()"  # it has a token, and a URL may have one too


class Progress(NamedTuple):
    """How far a phase is; `waiting` are calls that failed and will be made again, `failure` is what came of the last of them."""

    phase: Phase | Literal["ops"]
    total: int
    done: int
    retries: int = 0
    waiting: int = 0
    failure: str = ""


Tell = Callable[[Progress], None]


def retry_steps(source: str, scale: float) -> tuple[float, ...]:
    """Return how many seconds are waited after each attempt that failed; `scale` shortens the vendor's own times.

    Ship24 makes 20 attempts in about six days, the first again after 12 minutes, at most 12 hours apart (read from its code).
    Shiipp tries up to five times more, ever further apart (its documentation; by how much is not said: ten minutes, doubled).
    """
    if source == "ship24":
        return tuple(min(12 * _MINUTE * 1.5**step, 12 * _HOUR) * scale for step in range(19))
    return tuple(10 * _MINUTE * 2**step * scale for step in range(5))


class Sender:
    """Some threads with a connection each. What came of every attempt goes to the ledger."""

    def __init__(self, plan: TrafficPlan, target: SimulationTarget, ledger: AttemptLog, watch: WirePool) -> None:
        self._plan = plan
        self._target = target
        self._ledger = ledger
        self._changed = Condition()
        self._due: list[tuple[float, int, int, PlannedDelivery]] = []  # moment, a number that breaks ties, attempt, call
        self._numbers = 0
        self._left = 0
        self._waiting = 0
        self._ended = False
        self._ready: SimpleQueue[tuple[float, int, PlannedDelivery] | None] = SimpleQueue()
        for _ in range(target.connections):
            Thread(target=self._work, args=(watch,), name="sender", daemon=True).start()

    def send(self, calls: Sequence[PlannedDelivery], tell: Tell) -> None:
        """Send the calls of one phase; return when each was accepted or given up."""
        if not calls:
            return
        begun = told_at = monotonic()
        self._due = [(begun + call.due_seconds, place, 1, call) for place, call in enumerate(calls)]
        heapify(self._due)
        self._numbers = self._left = len(calls)
        before = self._ledger.retries
        with self._changed:
            while self._left:
                self._changed.wait(self._hand_out())
                if self._left and monotonic() < told_at:
                    continue
                told_at = monotonic() + _TICK_SECONDS
                done, retries = len(calls) - self._left, self._ledger.retries - before
                tell(Progress(calls[0].phase, len(calls), done, retries, self._waiting, self._ledger.failure))

    def was_accepted(self) -> bool:
        """Tell whether any call ever was."""
        return self._ledger.accepted > 0

    def close(self) -> None:
        """Let the threads end, each after the call that it makes; what is due and not begun is left out."""
        with self._changed:
            self._ended = True
        for _ in range(self._target.connections):
            self._ready.put(None)

    def _hand_out(self) -> float:
        """Hand out what is due; return for how many seconds there is nothing more to do."""
        now = monotonic()
        while self._due and self._due[0][0] <= now:
            due_at, _, attempt, call = heappop(self._due)
            self._waiting -= attempt > 1
            self._ready.put((due_at, attempt, call))
        return min(_TICK_SECONDS, self._due[0][0] - now) if self._due else _TICK_SECONDS

    def _work(self, watch: WirePool) -> None:
        wires: dict[str, Wire] = {}
        while (job := self._ready.get()) is not None and not self._ended:
            due_at, attempt, call = job
            url = self._target.urls[self._plan.kind(call)]
            host = origin_of(url)
            if host not in wires:
                wires[host] = watch.wire(url, self._target.timeout_seconds)
            started_at = monotonic()
            reply = post(wires[host], self._target, self._plan, call)
            self._settle(call, Attempt(attempt, due_at, started_at, monotonic(), attempt > len(self._target.steps)), reply)

    def _settle(self, call: PlannedDelivery, attempt: Attempt, reply: WireReply) -> None:
        reading = read_answer(reply, [self._plan.messages[number].id for number in call.messages])
        with self._changed:
            if self._ended:
                return  # it was cut short by us, which is not the receiver's doing
            self._ledger.note(call, attempt, reply, reading)
            if reading.taken or attempt.is_last:
                self._left -= 1
            else:
                self._numbers += 1
                again_at = attempt.ended_at + self._target.steps[attempt.number - 1]
                heappush(self._due, (again_at, self._numbers, attempt.number + 1, call))
                self._waiting += 1
            self._changed.notify()


def post(wire: Wire, target: SimulationTarget, plan: TrafficPlan, call: PlannedDelivery) -> WireReply:
    """Post a call as both vendors do."""
    headers = {"authorization": f"Bearer {target.token}", "content-type": "application/json", "user-agent": "receiver-simulate"}
    return wire.call("POST", path_of(target.urls[plan.kind(call)]), headers, plan.body(call))


def origin_of(url: str) -> str:
    """Return whom a URL calls; unlike its path and its query that is no secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def path_of(url: str) -> str:
    """Return what is asked for at a URL's host."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
