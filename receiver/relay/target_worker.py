"""The worker of one target: claims due changes, delivers them and stores the outcomes. No target waits for another one."""

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import replace
from random import random
from secrets import token_hex
from time import monotonic
from typing import cast

import structlog

from receiver import clock
from receiver.errors import ReceiverError, StorageUnavailable
from receiver.logs.outage import Outage
from receiver.relay.retry import DEFAULT_POLICY, Circuit, RetryPolicy, next_try
from receiver.relay.target import AT_ONCE, NotAcknowledged, Target, TargetGone, TargetUnavailable, deliver_in_time, describe_error
from receiver.storage.outbox import Acknowledgement, Claimed, Exchanged, Outcome, Probe
from receiver.writer.commands.changes import ExchangeChanges, ReadFlush, ReleaseChanges, StopTarget
from receiver.writer.executor import Do

_LEASE_SECONDS = 30.0  # beyond the time-out: to store an outcome, also through a short fault of the database
_MAX_UNSETTLED = 4  # claims that ended with the process: one among other changes, then three alone
_MIN_WAIT_SECONDS = 0.05
_FLUSH_SECONDS = 1.0  # between two looks for a flush, while the circuit is open
_MAX_ERROR_CHARACTERS = 4000
_ENDS_ITS_PROCESS = (
    "The process of the handlers ended {unsettled} times during this change, the last times with no other change in flight, so "
    "it is not retried. See relay_ended in the log."
)
_UNSTORABLE = "The error cannot be stored; the log says why."
_SECOND = 1_000_000

_log = structlog.get_logger()


class TargetWorker:
    """Serves one target until it is cancelled. The marks of its claims begin with `owner`: see `Outbox.release`.

    A failure in a process that `is_exhausted` counts neither against the change nor against the target: it stays in flight.
    """

    def __init__(
        self,
        target: Target,
        do: Do,
        owner: str,
        policy: RetryPolicy = DEFAULT_POLICY,
        is_exhausted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.target = target
        self._owner = owner
        self._is_exhausted = is_exhausted
        self._policy = policy
        self._name = target.subscription.target
        self._do = do
        self._circuit = Circuit(policy)
        self._last_tried = ("", "")  # no tracker yet
        self._down_at = 0  # the last failure of the target, by the wall clock
        self._looked_at = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._ended: list[Outcome] = []
        self._lost: ReleaseChanges | None = None  # of an exchange whose result was lost: it may have claimed changes
        self._signal = asyncio.Event()
        self._outage = Outage()

    def wake(self) -> None:
        """Wake the worker: there may be something to do."""
        self._signal.set()

    async def run(self) -> None:
        """Do one step after the other; between them wait for a wake-up, or until a change is due."""
        while True:
            self._signal.clear()
            try:
                wait_seconds = await self.step()
            except Exception as error:  # the next change may succeed
                self._note_fault(_name(error))
                wait_seconds = self._policy.poll_seconds
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._signal.wait()
            except TimeoutError:
                pass

    async def step(self) -> float:
        """Store outcomes and start due changes; return the seconds until the next step, as far as is known."""
        await self._heed_flush()
        room = max(0, self._circuit.room(_ticks(), AT_ONCE) - len(self._under_way))
        ended, self._ended = self._ended, []
        if not room and not ended:
            return self._idle_seconds(None)
        try:
            exchanged = await self._exchange(room, ended)
        except BaseException:
            self._ended = ended + self._ended  # stored later, within the lease
            raise
        self._note_end()
        for item in exchanged.claimed:
            self._under_way.add(asyncio.create_task(self._try(item)))
        if exchanged.blocked:
            return 0
        return self._idle_seconds(exchanged.next_due if room > len(exchanged.claimed) else None)

    async def _heed_flush(self) -> None:
        """Close an open circuit if an operator had the target tried at once after its last failure."""
        now = _ticks()
        if not self._circuit.blocked_for(now) or now < self._looked_at + int(_FLUSH_SECONDS * _SECOND):
            return
        self._looked_at = now
        flushed_at = await self._do(ReadFlush(self._name))
        if flushed_at is not None and flushed_at > self._down_at:
            self._circuit = Circuit(self._policy)

    async def run_suspects(self, seconds: float) -> bool:
        """Deliver suspects, the changes that were in flight when their process died, one after the other.

        Begin none after so many seconds; return whether there may be more.
        """
        until = monotonic() + seconds
        while True:
            room = 1 if monotonic() < until else 0
            ended, self._ended = self._ended, []
            try:
                exchanged = await self._exchange(room, ended, suspects=True)
            except Exception as error:  # the next exchange may succeed
                self._ended = ended + self._ended
                self._note_fault(_name(error))
                await asyncio.sleep(self._policy.poll_seconds)
                continue
            self._note_end()
            for item in exchanged.claimed:
                await self._try_suspect(item)
            if not exchanged.claimed and not exchanged.blocked:
                return not room

    def _note_fault(self, cause: str) -> None:
        if self._outage.begin(cause):
            _log.warning("relay_paused", target=self._name, cause=cause)

    def _note_end(self) -> None:
        if self._outage.end():
            _log.info("work_resumed", after="relay_paused", target=self._name)

    async def _try_suspect(self, claimed: Claimed) -> None:
        """Deliver a suspect, unless it has ended its process too often."""
        if claimed.unsettled < _MAX_UNSETTLED:
            await self._try(claimed)
            return
        key = (claimed.mark, *claimed.change.stored_key)
        self._ended.append(Outcome(*key, _ENDS_ITS_PROCESS.format(unsettled=claimed.unsettled)))
        _log.error("change_failed", target=self._name, change_id=claimed.change.id, cause="It ends its process.")

    async def finish(self, seconds: float) -> None:
        """Wait for changes in flight and store their outcomes. What is not done by then is repeated by the next relay."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
        if self._ended:
            await self._exchange(0, self._ended)
        await self.target.close()

    async def _try(self, claimed: Claimed) -> None:
        """Deliver one change. There is always an outcome."""
        key = (claimed.mark, *claimed.change.stored_key)
        self._last_tried = claimed.change.source, claimed.change.tracker_id
        try:
            status = await self._deliver_or_end(claimed)
        except TargetGone as error:
            self._ended.append(Outcome(*key, describe_error(error), _now()))
            await self._stop(error)
        except Exception as error:
            requested_seconds = error.requested_seconds if isinstance(error, NotAcknowledged) else None
            if isinstance(error, TargetUnavailable):
                self._circuit = self._circuit.failed(_ticks(), requested_seconds)
                self._down_at = _now()
            elif isinstance(error, NotAcknowledged):
                self._circuit = self._circuit.succeeded()
            chance = random()  # noqa: S311  spreading, not guarding
            due_at = next_try(claimed.attempts, _now(), chance, requested_seconds, self._policy.delays_seconds)
            self._ended.append(Outcome(*key, _describe(error), due_at))
            event = "change_deferred" if due_at is not None else "change_failed"
            _log.warning(event, target=self._name, change_id=claimed.change.id, attempts=claimed.attempts, cause=_name(error))
        else:
            self._circuit = self._circuit.succeeded()
            taken = Acknowledgement(claimed.change.id, claimed.attempts, status)
            self._ended.append(Outcome(*key, acknowledgement=taken))
        finally:  # before the signal, as the next step counts the changes in flight
            self._under_way.discard(cast("asyncio.Task[None]", asyncio.current_task()))
            self._signal.set()

    async def _deliver_or_end(self, claimed: Claimed) -> int | None:
        """Deliver a change; return the status of the answer. If an exhausted process makes it fail, wait for its end."""
        try:
            return await deliver_in_time(self.target, claimed.change)
        except Exception as error:
            is_answer = isinstance(error, NotAcknowledged | TargetGone) and not isinstance(error, TargetUnavailable)
            if not is_answer and self._is_exhausted():
                await asyncio.Event().wait()
            raise

    async def _exchange(self, room: int, ended: list[Outcome], *, suspects: bool = False) -> Exchanged:
        """Store outcomes and claim changes."""
        now = _now()
        lease_seconds = self.target.timeout_seconds + _LEASE_SECONDS
        mark, leased_until = f"{self._owner}.{token_hex(8)}", now + int(lease_seconds * _SECOND)
        probe = Probe(self._circuit.probes_newest, self._last_tried) if self._circuit.is_probing and not suspects else None
        wanted = suspects if self.target.runs_foreign_code else None
        exchange = ExchangeChanges(self._name, mark, now, leased_until, room, ended, probe, wanted)
        await self._release_lost()
        try:
            return await self._exchange_in_parts(exchange, ended)
        except StorageUnavailable:
            self._lost = ReleaseChanges(mark, now, (self._name,) if suspects else ())
            raise

    async def _exchange_in_parts(self, exchange: ExchangeChanges, ended: list[Outcome]) -> Exchanged:
        """Do an exchange; if it fails because of an outcome, store the outcomes one by one first."""
        try:
            return await self._do(exchange)
        except StorageUnavailable:
            raise
        except Exception:
            while ended:
                await self._settle(exchange, ended[0])
                ended.pop(0)
            return await self._do(replace(exchange, outcomes=()))

    async def _release_lost(self) -> None:
        """Release what an exchange may have claimed whose result was lost; its changes would wait for the end of their lease."""
        if self._lost is not None:
            await self._do(self._lost)
            self._lost = None

    async def _settle(self, exchange: ExchangeChanges, outcome: Outcome) -> None:
        """Store one outcome, if necessary without its error text, which comes from outside."""
        try:
            await self._do(replace(exchange, limit=0, outcomes=(outcome,)))
        except StorageUnavailable:
            raise
        except Exception as error:
            _log.warning("outcome_not_stored", target=self._name, cause=_name(error))
            if outcome.error is not None:
                await self._do(replace(exchange, limit=0, outcomes=(outcome._replace(error=_UNSTORABLE),)))

    async def _stop(self, error: TargetGone) -> None:
        _log.error("target_stopped", target=self._name, cause=error.message)
        try:
            await self._do(StopTarget(self._name, _now(), error.message))
        except Exception as failure:  # the target answers 410 again at the next attempt
            _log.warning("relay_paused", target=self._name, cause=_name(failure))

    def _idle_seconds(self, next_due: int | None) -> float:
        """Return the longest wait if the next change is due then. A new change, or a resumed target, may come first."""
        poll = self._policy.poll_seconds
        blocked = self._circuit.blocked_for(_ticks())
        if blocked > 0:
            return min(poll, max(_MIN_WAIT_SECONDS, blocked))
        return poll if next_due is None else min(poll, max(_MIN_WAIT_SECONDS, (next_due - _now()) / _SECOND))


def _now() -> int:
    return clock.to_micros(clock.now())


def _ticks() -> int:
    """Return microseconds of a monotonic clock, for what only this process remembers."""
    return int(monotonic() * _SECOND)


def _name(error: Exception) -> str:
    return error.message if isinstance(error, ReceiverError) else type(error).__name__


def _describe(error: Exception) -> str:
    if isinstance(error, NotAcknowledged):
        return describe_error(error)
    if isinstance(error, ReceiverError):
        return error.message
    return "".join(traceback.format_exception(error))[-_MAX_ERROR_CHARACTERS:]
