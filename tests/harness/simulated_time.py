"""An event loop with simulated time: the clock jumps while it waits, so an hour takes a moment."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any

import pytest

from receiver import clock
from receiver.relay import target_worker


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Jumps to its next timer when nothing else is to be done. Nothing in it may wait for another thread."""

    def __init__(self) -> None:
        super().__init__()
        self._passed_seconds = 0.0

    def time(self) -> float:
        """Return the simulated seconds."""
        return self._passed_seconds

    def _run_once(self) -> None:
        waiting: Any = self
        if not waiting._ready and waiting._scheduled:
            self._passed_seconds = max(self._passed_seconds, waiting._scheduled[0]._when)
        waiting_base: Any = super()
        waiting_base._run_once()


def run_simulated(work: Awaitable[None], start: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on such a loop; the clocks of the relay are the loop's, from `start`."""
    loop = SimulatedLoop()
    monkeypatch.setattr(clock, "now", lambda: start + timedelta(seconds=loop.time()))
    monkeypatch.setattr(target_worker, "monotonic", loop.time)
    try:
        loop.run_until_complete(asyncio.ensure_future(work, loop=loop))
    finally:
        loop.close()
