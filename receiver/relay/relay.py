"""All lanes together: one for each target, woken when changes were made."""

import asyncio
from collections.abc import Sequence

from receiver.relay.lane import Do, Lane
from receiver.relay.schedule import PACE, Pace
from receiver.relay.target import Target

_FINISH_SECONDS = 20.0


class Relay:
    """Runs on the running loop."""

    def __init__(self, targets: Sequence[Target], do: Do, pace: Pace = PACE) -> None:
        self._lanes = [Lane(target, do, pace) for target in targets]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to serve all targets."""
        self._tasks = [asyncio.create_task(lane.run(), name=lane.target.subscription.target) for lane in self._lanes]

    def wake(self) -> None:
        """Say that changes were made."""
        for lane in self._lanes:
            lane.wake()

    async def stop(self) -> None:
        """Claim nothing more, wait for what is under way and put it down."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(lane.finish(_FINISH_SECONDS) for lane in self._lanes), return_exceptions=True)
