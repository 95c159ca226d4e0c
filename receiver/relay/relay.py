"""The relay: one worker for each target, woken by new changes."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from secrets import token_hex

from receiver import clock
from receiver.domain.changes import TargetTestResult
from receiver.errors import ReceiverError
from receiver.relay.retry import DEFAULT_POLICY, RetryPolicy
from receiver.relay.target import Target
from receiver.relay.target_tests import deliver_test_change
from receiver.relay.target_worker import TargetWorker
from receiver.writer.commands.changes import ReleaseChanges
from receiver.writer.executor import Do

_TURN_SECONDS = 1.0


class Relay:
    """Runs on the running loop. `owner` names it in the marks of what it claims: see `Outbox.release`."""

    def __init__(
        self,
        targets: Sequence[Target],
        do: Do,
        policy: RetryPolicy = DEFAULT_POLICY,
        owner: str | None = None,
        is_exhausted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._owner = token_hex(8) if owner is None else owner
        self._do = do
        self._workers = [TargetWorker(target, do, self._owner, policy, is_exhausted) for target in targets]
        self._handlers = tuple(target.subscription.target for target in targets if target.runs_foreign_code)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start to serve all targets."""
        self._tasks = [asyncio.create_task(worker.run(), name=worker.target.subscription.target) for worker in self._workers]

    def wake(self) -> None:
        """Wake all workers: there are new changes."""
        for worker in self._workers:
            worker.wake()

    async def test(self, name: str) -> TargetTestResult:
        """Send a test change to a target and return its answer."""
        for worker in self._workers:
            if worker.target.subscription.target == name:
                return await deliver_test_change(worker.target)
        return TargetTestResult(delivered=False, status=None, answer="The relay does not know this target. Restart the service.")

    async def run_suspects(self) -> None:
        """Deliver suspects, one at a time in this process, until there are none.

        The handlers take turns, so that one with many slow suspects holds up no other.
        """
        while any([await worker.run_suspects(_TURN_SECONDS) for worker in self._workers]):
            pass

    async def stop(self, seconds: float, *, releases: bool = True) -> None:
        """Stop claiming, wait for changes in flight for so many seconds, store their outcomes, and release the rest.

        Without `releases` the rest stays claimed, and the supervisor decides about it.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.finish(seconds) for worker in self._workers), return_exceptions=True)
        if not releases:
            return
        with suppress(ReceiverError):  # otherwise the leases end by themselves
            await self._do(ReleaseChanges(self._owner, clock.to_micros(clock.now()), self._handlers))
