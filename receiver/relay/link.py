"""The service's end of the socket to one relay process."""

import asyncio
import socket
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import Any, cast

import structlog

from receiver.domain.changes import TargetTestResult
from receiver.errors import ConfigurationError, ReceiverError, UnexpectedShape
from receiver.relay.messages import (
    CommandRequest,
    CommandResult,
    Goodbye,
    Hello,
    MalformedMessage,
    RelayUnpacker,
    TargetTestReply,
    TargetTestRequest,
    Wake,
    pack,
)
from receiver.relay.target_tests import read_result
from receiver.writer.commands.changes import ExchangeChanges, ReadFlush, ReleaseChanges, StopTarget
from receiver.writer.executor import Do

_COMMANDS = (ExchangeChanges, ReadFlush, ReleaseChanges, StopTarget)
"""The commands that a relay may send: only what it needs, as handlers share its socket."""

_READ_BYTES = 1 << 16
_MAX_COMMANDS = 64  # in progress for one relay
_GOODBYE_SECONDS = 1.0
_TEST_SECONDS = 65.0  # more than the longest time-out of a target
_MAX_UNREAD_BYTES = 1 << 20

_log = structlog.get_logger()


class RelayLink(asyncio.Protocol):
    """The service's end of the socket to one relay process. Neither a flood nor silence from it blocks the service."""

    def __init__(self, do: Do) -> None:
        self._do = do
        self._unpacker = RelayUnpacker()
        self._commands: set[asyncio.Task[None]] = set()
        self._is_full = False
        self._is_woken = False
        self._transport: asyncio.Transport | None = None
        self.hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._goodbye: Goodbye | None = None
        self._numbers = count(1)
        self._tests: dict[int, asyncio.Future[TargetTestResult]] = {}
        self.lost = asyncio.Event()
        self.heard_at = monotonic()

    def send(self, record: Any) -> None:
        """Send a record, unless the relay does not read."""
        if self._transport is not None and not self._is_full and not self._transport.is_closing():
            self._transport.write(pack(record))

    def wake(self) -> None:
        """Announce new changes. Nothing is sent again until the relay has asked for them."""
        if not self._is_woken:
            self._is_woken = True
            self.send(Wake())

    async def test(self, target: str) -> TargetTestResult:
        """Have the relay send a test change to a target; return its answer."""
        number = next(self._numbers)
        future: asyncio.Future[TargetTestResult] = asyncio.get_running_loop().create_future()
        self._tests[number] = future
        self.send(TargetTestRequest(number, target))
        try:
            async with asyncio.timeout(_TEST_SECONDS):
                return await future
        except TimeoutError:
            return TargetTestResult(
                delivered=False, status=None, answer=f"The relay did not respond in {_TEST_SECONDS:g} seconds."
            )
        finally:
            del self._tests[number]

    async def wait_for_goodbye(self) -> Goodbye | None:
        """Return the Goodbye of a relay that has ended, which may still be on its way; None if it sent none."""
        with suppress(TimeoutError):  # a process started by a handler may hold its socket open
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self.lost.wait()
        return self._goodbye

    def close(self) -> None:
        """Close the socket and cancel the commands of this relay."""
        for task in self._commands:
            task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass
        self._transport.set_write_buffer_limits(_MAX_UNREAD_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the relay ended, or that a handler closed its socket."""
        self.lost.set()
        for future in self._tests.values():
            if not future.done():
                future.set_result(TargetTestResult(delivered=False, status=None, answer="The relay ended during the test."))
        if not self.hello.done():
            self.hello.set_result(Hello((), "It ended before its first message."))

    def pause_writing(self) -> None:
        """Stop serving a relay that does not read."""
        self._is_full = True
        self._throttle()

    def resume_writing(self) -> None:
        """Serve the relay again."""
        self._is_full = False
        self._throttle()

    def data_received(self, data: bytes) -> None:
        """Handle messages of the relay."""
        self.heard_at = monotonic()
        try:
            for record in self._unpacker.feed(data):
                self._take(record)
        except MalformedMessage:
            assert self._transport is not None
            self._transport.abort()

    def _take(self, record: Any) -> None:
        if isinstance(record, CommandRequest):
            self._is_woken = False
            task = asyncio.create_task(self._execute(record))
            self._commands.add(task)
            task.add_done_callback(self._answered)
            self._throttle()
        elif isinstance(record, TargetTestReply):
            future = self._tests.get(record.number)
            if future is not None and not future.done():
                future.set_result(read_result(record.result))
        elif isinstance(record, Hello) and not self.hello.done():
            self.hello.set_result(record)
        elif isinstance(record, Goodbye):
            self._goodbye = record

    async def _execute(self, request: CommandRequest) -> None:
        try:
            if type(request.command) not in _COMMANDS:
                raise UnexpectedShape(f"{type(request.command).__name__} is not a relay's command.")
            result = await self._do(request.command)
        except ReceiverError as error:
            result = error
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack(CommandResult(request.number, result)))

    def _answered(self, task: "asyncio.Task[None]") -> None:
        self._commands.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("relay_command_failed", cause=type(task.exception()).__name__)
        self._throttle()

    def _throttle(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._is_full or len(self._commands) >= _MAX_COMMANDS:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


def read_hello(channel: socket.socket, seconds: float) -> tuple[Any, ...]:
    """Wait for the Hello of a relay and return its targets. Raises ConfigurationError."""
    channel.settimeout(seconds)
    unpacker, hello = RelayUnpacker(), None
    try:
        while hello is None:
            piece = channel.recv(_READ_BYTES)
            if not piece:
                raise ConfigurationError("RECEIVER_HANDLERS: the process that imported them ended.")
            hello = next((record for record in unpacker.feed(piece) if isinstance(record, Hello)), None)
    except TimeoutError:
        raise ConfigurationError(f"RECEIVER_HANDLERS: they were not imported within {seconds:g} seconds.") from None
    except (ConnectionError, MalformedMessage):
        raise ConfigurationError("RECEIVER_HANDLERS: the process that imported them is gone.") from None
    if hello.error is not None:
        raise ConfigurationError(hello.error)
    return hello.targets
