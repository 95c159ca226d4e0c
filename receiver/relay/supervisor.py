"""Keeps the relay running beside the service: restarts it when it ends, kills it when it hangs, and reports both."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from secrets import token_hex
from time import monotonic
from typing import Any, NamedTuple

import structlog

from receiver import clock
from receiver.domain.changes import TargetTestResult
from receiver.errors import ReceiverError
from receiver.relay.assembly import ConfiguredTarget, handler_names, target_names
from receiver.relay.executed_forker import execute_forker
from receiver.relay.forker import Forker, fork_forker
from receiver.relay.link import RelayLink, read_hello
from receiver.relay.messages import Begin, Finish, Hello, Ping
from receiver.relay.processes import FORKER_LOST, RelayProcesses
from receiver.relay.relay_process import ALL, ALONE, run_relay
from receiver.relay.target_tests import NOT_RUNNING
from receiver.settings import Settings
from receiver.writer.commands.changes import HasSuspects, ReleaseChanges
from receiver.writer.executor import Do

_CHECKS = 5  # of a relay until it counts as stalled
_RETRY_SECONDS = 2.0
_SUSPECTS_SECONDS = 30.0
_FINISH_SECONDS = 1.0  # to store the last outcomes
_KILL_SECONDS = 2.0

_log = structlog.get_logger()


class SupervisorTimings(NamedTuple):
    """Times of the supervisor.

    pauses_seconds: before each restart; the last one repeats
    steady_seconds: running time after which the pauses begin again with the first (also after suspects: the next relay does not
        get these)
    stall_seconds: time without a sign of life after which a relay is killed
    import_seconds: for the first sign of life, as the user's modules have to be imported before it
    """

    pauses_seconds: tuple[float, ...] = (1, 2, 5, 15, 30, 60)
    steady_seconds: float = 300
    stall_seconds: float = 30
    import_seconds: float = 120


SUPERVISOR_TIMINGS = SupervisorTimings()


class FirstRelay(NamedTuple):
    """A relay process that has said Hello and waits to begin: its forking process, our end of its socket, its targets, and a
    function that starts another forking process.
    """

    forker: Forker
    socket: socket.socket
    targets: tuple[ConfiguredTarget, ...]
    execute: Callable[[], Forker]


def start_relay(settings: Settings, seconds: float = SUPERVISOR_TIMINGS.import_seconds) -> FirstRelay:
    """Fork, while this process has one thread, and wait until the relay has imported the user's modules.

    Raises ConfigurationError if they cannot be imported, or not within so many seconds.
    """
    forker = fork_forker(partial(run_relay, settings))
    try:
        first = forker.start(ALL)
        return FirstRelay(forker, first, read_hello(first, seconds), partial(execute_forker, settings))
    except BaseException:
        forker.close(_KILL_SECONDS)
        raise


class RelayEnd(NamedTuple):
    """The end of a relay process: its cause (None: as intended), and the number of suspects it left."""

    cause: str | None
    suspects: int = 0


class RelayState(NamedTuple):
    """The state for operators: whether the relay runs, for which targets, and how often, when and why it crashed."""

    is_running: bool = False
    crashes: int = 0
    crashed_at: float | None = None
    cause: str | None = None
    targets: tuple[str, ...] = ()


class Supervisor:
    """Supervises the relay processes of one service: one that relays, and while there are suspects one for these alone.

    `do` executes commands. A change that a handler was processing when its process died may be the cause: it is a suspect.
    """

    def __init__(self, first: FirstRelay, do: Do, timings: SupervisorTimings = SUPERVISOR_TIMINGS) -> None:
        self._processes = RelayProcesses(first.forker, first.execute)
        self._first: FirstRelay | None = first
        self._do = do
        self._handlers = tuple(handler_names(first.targets))
        self._timings = timings
        self._links: dict[str, RelayLink] = {}
        self._suspects = asyncio.Event()
        self._stopping = asyncio.Event()
        self._state = RelayState()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *, has_one_writer: bool) -> None:
        """Begin, on the running loop. With one writer, every claim in the database belongs to a dead relay."""
        self._processes.begin(ALL)
        self._tasks = [asyncio.create_task(self._run(release_all=has_one_writer), name="relay")]

    def state(self) -> RelayState:
        """Return the state for operators."""
        return self._state

    def wake(self) -> None:
        """Wake the relay: there are new changes."""
        if ALL in self._links:
            self._links[ALL].wake()

    async def test(self, target: str) -> TargetTestResult:
        """Have the relay send a test change to a target; return its answer."""
        return await self._links[ALL].test(target) if ALL in self._links else NOT_RUNNING

    def finish(self, seconds: float) -> None:
        """Have the relays finish changes in flight within so many seconds, and start none again."""
        self._stopping.set()
        for link in self._links.values():
            link.send(Finish(max(0, seconds - _FINISH_SECONDS)))

    async def stop(self, seconds: float) -> None:
        """Wait until the relays have ended; kill them after so many seconds."""
        self.finish(seconds)
        if self._first is not None:  # it never began, and ends when its socket closes
            self._first.socket.close()
        await self._processes.stop(seconds)
        for task in self._tasks:
            task.cancel()
        await self._processes.close()

    def kill(self) -> None:
        """Kill everything without waiting for it."""
        self._processes.kill_all()

    async def _run(self, *, release_all: bool) -> None:
        if release_all:
            await self._release(None, crashed=True)
        await asyncio.gather(self._relay_all(), self._relay_suspects(), self._look_for_suspects())

    async def _relay_all(self) -> None:
        """Run one relay process after the other."""
        failures = 0
        while not self._stopping.is_set():
            began = monotonic()
            end = await self._run_once(ALL)
            if end.cause is None:
                continue
            is_fresh = end.suspects or monotonic() - began > self._timings.steady_seconds
            failures = 1 if is_fresh else failures + 1
            await self._pause(failures, end.cause)

    async def _relay_suspects(self) -> None:
        """Relay suspects one at a time whenever there are any, so that only the one that ends its process is blamed.

        From then on that change waits behind all others, and it has few attempts.
        """
        failures = 0
        while not self._stopping.is_set():
            await self._suspects.wait()
            self._suspects.clear()
            end = await self._run_once(ALONE)
            if end.cause is None:
                failures = 0
                continue
            failures = 1 if end.suspects else failures + 1
            await self._pause(failures, end.cause)

    async def _look_for_suspects(self) -> None:
        """Look for suspects regularly: a lease may expire unnoticed."""
        while self._handlers:
            with suppress(ReceiverError):  # the relay logs it too
                if await self._do(HasSuspects(self._handlers, clock.to_micros(clock.now()))):
                    self._suspects.set()
            await asyncio.sleep(_SUSPECTS_SECONDS)

    async def _pause(self, failures: int, cause: str) -> None:
        pauses = self._timings.pauses_seconds
        pause = pauses[min(failures, len(pauses)) - 1]
        if not self._stopping.is_set():
            _log.error("relay_ended", cause=cause, restarts_in_seconds=pause)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._stopping.wait()

    async def _run_once(self, role: str) -> RelayEnd:
        """Run a relay process to its end."""
        owner = token_hex(8)
        link = RelayLink(self._do)
        first, self._first = (self._first, None) if role == ALL else (None, self._first)
        try:
            socket_ = await self._processes.start(role) if first is None else first.socket
        except (OSError, RuntimeError) as error:  # also without threads
            return RelayEnd(f"It could not be started ({type(error).__name__}).")
        await asyncio.get_running_loop().create_connection(lambda: link, sock=socket_)
        if first is not None:
            link.hello.set_result(Hello(first.targets))
        self._links[role] = link
        try:
            code, cause = await self._watch(role, link, owner)
            goodbye = await link.wait_for_goodbye()
        finally:
            self._links.pop(role).close()
        suspects = 0
        if goodbye is None or goodbye.exhausted is not None:  # whatever its exit code: a handler may choose it
            cause = cause or (_describe_end(code) if goodbye is None else f"It ran out of {goodbye.exhausted}.")
            suspects = await self._release(owner, crashed=not self._stopping.is_set())
        elif goodbye.needs_replacement:
            await self._release(owner, crashed=False)
            _log.warning("relay_replaced", cause="Handlers run on in it after their time-out.")
            if role == ALONE:  # it may not have tried all suspects
                self._suspects.set()
        if role == ALL:
            self._note(cause)
        return RelayEnd(cause, suspects)

    async def _watch(self, role: str, link: RelayLink, owner: str) -> tuple[int, str | None]:
        """Watch a relay process until it has ended; return its exit code and, if it was killed, the reason."""
        cause = None
        end = self._processes.end_of(role)
        if (error := await self._wait_for_hello(link)) is not None:
            cause = error
        else:
            link.send(Begin(owner))
            if self._stopping.is_set():
                link.send(Finish(0))
            if role == ALL:
                self._state = self._state._replace(is_running=True, targets=target_names(link.hello.result().targets))
            while not end.done() and cause is None:
                link.send(Ping())
                cause = await self._check(link, end)
        return await self._processes.kill(role), cause

    async def _wait_for_hello(self, link: RelayLink) -> str | None:
        """Wait for the first sign of life; return what is wrong, or None."""
        try:
            async with asyncio.timeout(self._timings.import_seconds):
                return (await link.hello).error
        except TimeoutError:
            return f"The handlers were not imported within {self._timings.import_seconds:g} seconds."

    async def _check(self, link: RelayLink, end: "asyncio.Future[int]") -> str | None:
        """Wait for a while; return why the process has to be killed, or None."""
        lost = asyncio.ensure_future(link.lost.wait())
        waits: list[asyncio.Future[Any]] = [end, lost]
        await asyncio.wait(waits, timeout=self._timings.stall_seconds / _CHECKS, return_when=asyncio.FIRST_COMPLETED)
        if link.lost.is_set() and not end.done():
            await asyncio.wait([end], timeout=1.0)  # usually it is about to end
            return None if end.done() else "It closed its connection to the service."
        lost.cancel()
        if not end.done() and monotonic() - link.heard_at > self._timings.stall_seconds:
            return f"It gave no sign of life for {self._timings.stall_seconds:g} seconds."
        return None

    def _note(self, cause: str | None) -> None:
        if cause is None or self._stopping.is_set():
            self._state = self._state._replace(is_running=False)
        else:
            self._state = RelayState(is_running=False, crashes=self._state.crashes + 1, crashed_at=monotonic(), cause=cause)

    async def _release(self, owner: str | None, *, crashed: bool) -> int:
        """Release the claims of a relay that has ended; return the number of suspects among them."""
        while True:
            try:
                suspects = await self._do(ReleaseChanges(owner, clock.to_micros(clock.now()), self._handlers, crashed))
            except ReceiverError as error:
                _log.warning("relay_paused", cause=error.message)
            else:
                if suspects:
                    self._suspects.set()
                return suspects
            if self._stopping.is_set():
                return 0  # the next start, or the end of the lease, releases them
            await asyncio.sleep(_RETRY_SECONDS)


def _describe_end(code: int) -> str:
    if code == FORKER_LOST:
        return "Its forking process was lost and is replaced."
    return f"It ended with exit code {code}." if code >= 0 else f"It was ended by signal {-code}."
