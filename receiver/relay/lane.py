"""The way to one target: claims what is due, tries it, puts down how it ended. No target waits for another one."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from random import random
from secrets import token_hex
from time import monotonic
from typing import Any

import structlog

from receiver import clock
from receiver.errors import ReceiverError
from receiver.relay.schedule import PACE, Circuit, Pace, next_try
from receiver.relay.target import AT_ONCE, NotTaken, Target, TargetGone
from receiver.storage.outbox import Claimed, Outcome

_LEASE_SECONDS = 90.0  # longer than the longest time-out and what it takes to put down an outcome
_MIN_WAIT_SECONDS = 0.05
_MAX_ERROR_LETTERS = 4000
_SECOND = 1_000_000

_log = structlog.get_logger()

Do = Callable[..., Awaitable[Any]]
"""Calls a method of Upkeep in a transaction, and returns its result."""


class Lane:
    """Serves one target until it is cancelled."""

    def __init__(self, target: Target, do: Do, pace: Pace = PACE) -> None:
        self.target = target
        self._pace = pace
        self._name = target.subscription.target
        self._do = do
        self._circuit = Circuit(pace)
        self._under_way: set[asyncio.Task[None]] = set()
        self._ended: list[Outcome] = []
        self._signal = asyncio.Event()

    def wake(self) -> None:
        """Say that there may be something to do."""
        self._signal.set()

    async def run(self) -> None:
        """Do one step after the other; when nothing is to be done, wait for a sign, or for what comes due."""
        while True:
            try:
                if await self.step():
                    continue
                wait_seconds = await self._idle_seconds()
            except Exception as error:  # whatever it is, the next change may go through
                _log.warning("relay_waits", target=self._name, cause=_name(error))
                wait_seconds = self._pace.poll_seconds
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._signal.wait()
            except TimeoutError:
                pass

    async def step(self) -> bool:
        """Put down what ended and begin what is due; return whether anything was done."""
        self._signal.clear()
        settled = await self._settle()
        room = self._circuit.room(_ticks(), AT_ONCE) - len(self._under_way)
        if room <= 0:
            return settled
        mark, now = token_hex(8), _now()
        claimed: Sequence[Claimed] = await self._do(
            "claim_changes", self._name, mark, now, now + int(_LEASE_SECONDS * _SECOND), room
        )
        for item in claimed:
            task = asyncio.create_task(self._try(item))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return settled or bool(claimed)

    async def finish(self, seconds: float) -> None:
        """Wait for what is under way, and put it down: what is not done by then is repeated by whoever comes after us."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
        await self._settle()
        await self.target.close()

    async def _try(self, claimed: Claimed) -> None:
        """Deliver one change; whatever happens, there is an outcome."""
        place = (claimed.mark, claimed.change.source, claimed.change.tracker_id, claimed.change.move)
        try:
            async with asyncio.timeout(self.target.timeout_seconds):
                await self.target.deliver(claimed.change)
        except TargetGone as error:
            self._ended.append(Outcome(*place, error.message, _now()))
            await self._stop(error)
        except Exception as error:
            asked = error.asked_seconds if isinstance(error, NotTaken) else None
            self._circuit = self._circuit.failed(_ticks(), asked)
            chance = random()  # noqa: S311  spreading, not guarding
            due_at = next_try(claimed.attempts, _now(), chance, asked, self._pace.delays_seconds)
            self._ended.append(Outcome(*place, _describe(error, self.target.timeout_seconds), due_at))
            event = "change_not_taken" if due_at is not None else "change_given_up"
            _log.warning(event, target=self._name, change_id=claimed.change.id, attempts=claimed.attempts, cause=_name(error))
        else:
            self._circuit = self._circuit.succeeded()
            self._ended.append(Outcome(*place))
        self._signal.set()

    async def _settle(self) -> bool:
        ended, self._ended = self._ended, []
        if not ended:
            return False
        try:
            await self._do("settle_changes", self._name, _now(), ended)
        except ReceiverError:
            self._ended = ended + self._ended  # within the lease it is still ours to say
            raise
        return True

    async def _stop(self, error: TargetGone) -> None:
        _log.error("target_stopped", target=self._name, cause=error.message)
        try:
            await self._do("stop_target", self._name, _now(), error.message)
        except Exception as unkept:  # it says so again when it gets the change again
            _log.warning("relay_waits", target=self._name, cause=_name(unkept))

    async def _idle_seconds(self) -> float:
        """Return how long nothing is to be done, as far as is known: a change may come, or an operator resume the target."""
        poll = self._pace.poll_seconds
        spared = self._circuit.opens_in(_ticks())
        if spared > 0:
            return min(poll, max(_MIN_WAIT_SECONDS, spared))
        if self._under_way:
            return poll
        due_at = await self._do("next_due_change", self._name)
        return poll if due_at is None else min(poll, max(_MIN_WAIT_SECONDS, (due_at - _now()) / _SECOND))


def _now() -> int:
    return clock.to_micros(clock.now())


def _ticks() -> int:
    """Return microseconds of a clock that nobody turns, for what only this process remembers."""
    return int(monotonic() * _SECOND)


def _name(error: Exception) -> str:
    return error.message if isinstance(error, ReceiverError) else type(error).__name__


def _describe(error: Exception, timeout_seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"It did not take the change within {timeout_seconds:g} seconds."
    if isinstance(error, ReceiverError):
        return error.message
    return "".join(traceback.format_exception(error))[-_MAX_ERROR_LETTERS:]
