"""The main function of a relay process: imports handlers, says Hello, delivers changes until Finish or the end of the service."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import count
from typing import Any, cast

import structlog

from receiver.domain.changes import TargetTestResult
from receiver.errors import ConfigurationError, ReceiverError, StorageUnavailable
from receiver.relay.assembly import import_targets, make_targets
from receiver.relay.command_runner import CommandRunner
from receiver.relay.messages import (
    Begin,
    CommandRequest,
    CommandResult,
    Finish,
    Goodbye,
    Hello,
    MalformedMessage,
    Ping,
    RelayUnpacker,
    TargetTestReply,
    TargetTestRequest,
    Wake,
    pack,
)
from receiver.relay.process_health import ProcessHealth, find_exhausted_resource
from receiver.relay.relay import Relay
from receiver.settings import Settings
from receiver.storage.database import Database
from receiver.writer.executor import R, WriterCommand

ALL = "all"
ALONE = "alone"
"""The two roles: ALL relays everything except suspects; ALONE relays suspects only, one at a time."""

_MAX_STUCK_CALLS = 8
_REPLACED_SECONDS = 5.0  # for changes in flight when it has to be replaced
_ORPHANED_SECONDS = 3.0  # after the end of its service
_AGAIN_SECONDS = 2.0  # before a lost connection is tried again; meanwhile the workers poll

_log = structlog.get_logger()


def run_relay(settings: Settings, channel: socket.socket, role: str) -> int:
    """Run the relay process; return its exit code."""
    try:
        known = import_targets(settings)
    except ConfigurationError as error:
        channel.sendall(pack(Hello((), error.message)))
        return 1
    channel.sendall(pack(Hello(known)))
    return asyncio.run(_relay(settings, channel, role))


async def _relay(settings: Settings, channel: socket.socket, role: str) -> int:
    stop = asyncio.Event()
    link = ServiceLink(stop)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: link, sock=channel)
    loop.add_signal_handler(signal.SIGTERM, _nothing)
    owner = await link.begin()
    exhausted = find_exhausted_resource()  # before any change is in flight, so no handler of this process is the cause
    if owner is None or exhausted is not None:
        link.say_goodbye(needs_replacement=exhausted is not None, exhausted=exhausted)
        return 0
    database = Database(settings.database_url)
    runner = None if database.has_one_writer else CommandRunner(database)
    unhealthy = asyncio.Event()

    def on_unhealthy() -> None:
        unhealthy.set()
        stop.set()

    health = ProcessHealth(_MAX_STUCK_CALLS, on_unhealthy)
    targets = make_targets(settings, health, only_handlers=role == ALONE)
    relay = Relay(targets, link.do if runner is None else runner.do, owner=owner, is_exhausted=health.is_exhausted)
    tasks = [asyncio.create_task(health.watch())]
    if runner is not None:
        tasks.append(asyncio.create_task(_listen(database, relay.wake)))
    if role == ALONE:
        tasks.append(asyncio.create_task(_relay_suspects(relay, stop)))
    else:
        link.on_wake, link.on_test = relay.wake, relay.test
        relay.start()
    _log.info("relay_started", database=str(database), process_id=os.getpid(), role=role)
    await stop.wait()
    for task in tasks:
        task.cancel()
    if runner is not None or not link.is_lost:  # otherwise nothing could store the outcomes
        seconds = _REPLACED_SECONDS if unhealthy.is_set() else link.finish_seconds
        await relay.stop(0 if health.exhausted else seconds, releases=health.exhausted is None)
    link.say_goodbye(needs_replacement=unhealthy.is_set(), exhausted=health.exhausted)
    return 0


async def _relay_suspects(relay: Relay, stop: asyncio.Event) -> None:
    await relay.run_suspects()
    stop.set()


class ServiceLink(asyncio.Protocol):
    """The relay's end of the socket to the process that supervises it."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self.finish_seconds = _ORPHANED_SECONDS
        self.is_lost = False
        self.on_wake: Callable[[], None] = _nothing
        self.on_test: Callable[[str], Coroutine[Any, Any, TargetTestResult]] | None = None
        self._tests: set[asyncio.Task[None]] = set()
        self._unpacker = RelayUnpacker()
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._begun: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport

    async def begin(self) -> str | None:
        """Wait for permission to claim; return the prefix of our marks. None: the service is gone."""
        return await self._begun

    async def do(self, command: WriterCommand[R]) -> R:
        """Have the writing process execute a command and return its result. Raises its error."""
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.is_lost:
            raise _service_lost()
        self._waiting[number] = future
        self._transport.write(pack(CommandRequest(number, command)))
        result: R = await future
        if isinstance(result, ReceiverError):
            raise result
        return result

    def say_goodbye(self, *, needs_replacement: bool, exhausted: str | None = None) -> None:
        """Announce that this process ends by its own decision, and why."""
        if not self.is_lost:
            self._transport.write(pack(Goodbye(needs_replacement, exhausted)))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Handle messages of the service."""
        try:
            for record in self._unpacker.feed(data):
                self._take(record)
        except MalformedMessage:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop: the service has ended, or a handler closed our socket."""
        self.is_lost = True
        for future in self._waiting.values():
            if not future.done():
                future.set_result(_service_lost())
        self._waiting.clear()
        if not self._begun.done():
            self._begun.set_result(None)
        self._stop.set()

    def _take(self, record: Any) -> None:
        match record:
            case CommandResult(number, result):
                future = self._waiting.pop(number, None)
                if future is not None and not future.done():
                    future.set_result(result)
            case Wake():
                self.on_wake()
            case TargetTestRequest(number, target):
                task = asyncio.create_task(self._test(number, target))
                self._tests.add(task)
                task.add_done_callback(self._tests.discard)
            case Ping():
                self._transport.write(pack(Ping()))
            case Begin(owner):
                if not self._begun.done():
                    self._begun.set_result(owner)
            case Finish(seconds):
                self.finish_seconds = seconds
                if not self._begun.done():
                    self._begun.set_result(None)
                self._stop.set()
            case _:
                pass

    async def _test(self, number: int, target: str) -> None:
        result = None if self.on_test is None else await self.on_test(target)
        if not self.is_lost:
            self._transport.write(pack(TargetTestReply(number, result)))


async def _listen(database: Database, wake: Callable[[], None]) -> None:
    while True:
        with suppress(ReceiverError):  # the workers log it too
            async for _ in database.changes_made():
                wake()
        await asyncio.sleep(_AGAIN_SECONDS)


def _service_lost() -> StorageUnavailable:
    return StorageUnavailable("The service is gone.")


def _nothing() -> None:
    """Do nothing."""
