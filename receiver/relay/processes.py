"""The relay processes of one service, by role. They are children of its forking process (see `forker`), which may be replaced."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import structlog

from receiver.relay.forker import Forker, ForkerLost

FORKER_LOST = -1000
"""The exit code of a relay process whose forking process is lost. No signal has this number."""

_KILLED_SECONDS = 10.0  # after which a forking process that has not killed a relay counts as lost
_KILL_SECONDS = 2.0
_KILL_ALL_SECONDS = 0.5

_log = structlog.get_logger()


class RelayProcesses:
    """Starts, kills and awaits relay processes, one for each role. `execute` starts another forking process."""

    def __init__(self, forker: Forker, execute: Callable[[], Forker]) -> None:
        self._forker = forker
        self._execute = execute
        self._is_lost = False
        self._replacing = asyncio.Lock()
        self._ends: dict[str, asyncio.Future[int]] = {}

    def begin(self, role: str) -> None:
        """Watch for the ends of processes, on the running loop. A process of this role runs already."""
        self._expect(role)
        self._listen()

    def end_of(self, role: str) -> "asyncio.Future[int]":
        """Return the future exit code of the latest process of a role."""
        return self._ends[role]

    async def start(self, role: str) -> socket.socket:
        """Start a process; return our end of its socket. Raises OSError."""
        async with self._replacing:
            if self._is_lost:
                await self._replace()
        try:
            ours = self._forker.start(role)
        except ForkerLost:
            self._lose()
            raise
        self._expect(role)
        return ours

    async def kill(self, role: str) -> int:
        """Kill the process of a role and return its exit code."""
        end = self._ends[role]
        if not end.done():
            self._forker.kill(role)
            await asyncio.wait([end], timeout=_KILLED_SECONDS)
        if not end.done():
            self._lose()
        return end.result()

    async def stop(self, seconds: float) -> None:
        """Wait until all processes have ended; kill them after so many seconds."""
        running = [end for end in self._ends.values() if not end.done()]
        late = (await asyncio.wait(running, timeout=seconds))[1] if running else set()
        if late:
            _log.warning("relay_killed", cause="It did not end in time.")
            for role in self._ends:
                self._forker.kill(role)
            await asyncio.wait(late, timeout=_KILL_SECONDS)
            await asyncio.sleep(0)

    async def close(self) -> None:
        """End the forking process and its children."""
        async with self._replacing:
            if not self._is_lost:
                asyncio.get_running_loop().remove_reader(self._forker.control)
            await asyncio.to_thread(self._forker.close, _KILL_SECONDS)

    def kill_all(self) -> None:
        """Kill everything without waiting for it, from any thread."""
        for role in list(self._ends):
            self._forker.kill(role)
        self._forker.close(_KILL_ALL_SECONDS)

    async def _replace(self) -> None:
        """Start another forking process. The lost one, which may only hang, is ended first."""
        await asyncio.to_thread(self._forker.close, 0)
        self._forker = await asyncio.to_thread(self._execute)
        self._is_lost = False
        self._listen()
        _log.warning("relay_forker_replaced", process_id=self._forker.process_id)

    def _listen(self) -> None:
        self._forker.control.setblocking(False)  # noqa: FBT003  the interface of sockets
        asyncio.get_running_loop().add_reader(self._forker.control, self._take_ends)

    def _expect(self, role: str) -> None:
        self._ends[role] = asyncio.get_running_loop().create_future()

    def _lose(self) -> None:
        """Consider the forking process lost, and its relays with it."""
        self._is_lost = True
        asyncio.get_running_loop().remove_reader(self._forker.control)
        for end in self._ends.values():
            _set(end, FORKER_LOST)

    def _take_ends(self) -> None:
        """Read from the forking process which relays have ended."""
        with suppress(BlockingIOError):
            while (ended := self._forker.take_ended()) is not None:
                role, code = ended
                _set(self._ends[role], code)
            self._lose()


def _set(end: "asyncio.Future[int]", code: int) -> None:
    if not end.done():
        end.set_result(code)
