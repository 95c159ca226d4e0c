"""The client of the writing process: it sends deliveries and commands from the event loop, and waits for the replies."""

import asyncio
import math
import socket
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import structlog

from receiver import clock
from receiver.access.rate_limit import TokenBucket
from receiver.domain import answers
from receiver.domain.records import Answer, Delivery, Submission, UnreadDelivery
from receiver.errors import Busy, ReceiverError, StorageUnavailable, Unauthorized
from receiver.processes.repeating import repeat
from receiver.writer.commands.deliveries import CorrectAnswer, CountUnrecorded
from receiver.writer.counters import Counters
from receiver.writer.executor import R, WriterCommand
from receiver.writer.wire import Execute, Keep, Read, Replies, Request, Result, Unpacker, pack

_COUNT_SECONDS = 5.0
_MAX_UNDER_WAY_BYTES = 4 * 2**20  # sent and not yet received: two batches; a parsed delivery takes many times its bytes

_MAX_TURN_BYTES = 128 * 2**10  # bodies parsed in one turn of the loop, in some milliseconds
_MAX_JOINED_BYTES = 128 * 2**10  # copied in one turn of the loop

_Read = Callable[[], Submission | UnreadDelivery]

_log = structlog.get_logger()


class WriterClient(asyncio.Protocol):
    """Sends deliveries and commands to the writing process. At most `max_waiting` deliveries wait, each for `timeout_seconds`.

    `on_lost` is called if the writing process is lost.
    """

    def __init__(self, max_waiting: int, timeout_seconds: float, on_lost: Callable[[], None], counters: Counters) -> None:
        self.max_waiting = max_waiting
        self._timeout_seconds = timeout_seconds
        self._on_lost = on_lost
        self._counters = counters
        self._bucket = TokenBucket()
        self._unpacker = Unpacker()
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._commands: dict[int, asyncio.Future[Any]] = {}
        self._late: dict[int, str] = {}
        self._unread: dict[int, tuple[Delivery, _Read]] = {}  # in order of arrival
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._read_bytes = 0
        self._unrecorded: Counter[tuple[str, str, str]] = Counter()
        self._healthy = True
        self._closing = False
        self._on_change: Callable[[], None] = _do_nothing
        self._loop: asyncio.AbstractEventLoop
        self._transport: asyncio.Transport

    async def open(self, channel: socket.socket) -> None:
        """Connect to the writing process at the other end of a socket, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._transport, _ = await self._loop.create_connection(lambda: self, sock=channel)

    async def run(self) -> None:
        """Send the counts of deliveries without rows, every few seconds."""
        await repeat("counts_not_written", self._count, first_seconds=_COUNT_SECONDS, again_seconds=_COUNT_SECONDS)

    async def close(self, seconds: float = math.inf) -> None:
        """Wait for everything under way, at most `seconds`, then close the connection, which ends the writing process."""
        self._write_counts()
        self._closing = True
        if under_way := [*self._waiting.values(), *self._commands.values()]:
            await asyncio.wait(under_way, timeout=min(seconds, self._timeout_seconds))
        self._transport.close()

    def health(self) -> dict[str, bool]:
        """Return two checks of `/readyz`. `writer`: it runs, its database works, no answer is late. `queue`: it is not full."""
        alive = not self._transport.is_closing()
        return {"writer": alive and self._healthy and not self._late, "queue": self._has_room()}

    def watch_changes(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` after every commit with a change."""
        self._on_change = on_change

    def announce_change(self) -> None:
        """Announce a change that a command has made."""
        self._on_change()

    def waiting(self) -> int:
        """Return the number of deliveries that wait for the writing process, late ones included. Commands do not count."""
        return len(self._waiting) + len(self._late)

    async def store(self, delivery: Delivery, read: _Read) -> Answer:
        """Store a delivery and return its answer; 503 if it cannot be stored now.

        `read` is called at its turn. It returns the parsed delivery, or an UnreadDelivery for the writing process to parse.
        """
        answer = await self._hand_over(delivery, read)
        if delivery.test_run is None:
            self._counters.deliveries[delivery.source, answer.status] += 1
        return answer

    async def record_refused(self, delivery: Delivery, error: ReceiverError) -> Answer:
        """Return the answer to a rejected delivery. Record it if the rate limit allows that, otherwise only count it.

        One of a test counts nowhere.
        """
        if delivery.test_run is None:
            self._counters.deliveries[delivery.source, error.status] += 1
            self._counters.refused[delivery.source, error.code] += 1
            if isinstance(error, Unauthorized) and error.cause is not None:
                self._counters.causes[delivery.source, error.cause] += 1
        if self._bucket.take(self._loop.time()):
            await self._hand_over(delivery, partial(Submission, delivery, error=error))
        elif delivery.test_run is None:
            self._unrecorded[delivery.source, error.outcome, error.code] += 1
        return answers.for_error(error, delivery.id)

    async def _hand_over(self, delivery: Delivery, read: _Read) -> Answer:
        """Wait until a delivery is read and committed, and return its answer. Raises the errors of `read`."""
        number = next(self._numbers)
        future: asyncio.Future[Answer] = self._loop.create_future()
        if self._has_room() and not self._transport.is_closing():
            self._waiting[number] = future
            self._unread[number] = delivery, read
            self._advance()
        else:
            if delivery.test_run is None:
                self._unrecorded[delivery.source, Busy.outcome, Busy.code] += 1
            future.set_result(answers.for_error(Busy("Too many deliveries wait to be stored. Send it again later."), delivery.id))
        timer = self._loop.call_later(self._timeout_seconds, self._give_up, number, delivery.id)
        try:
            return await future
        finally:  # also after an error or a cancellation: a delivery that nobody waits for cannot be late
            timer.cancel()

    async def do(self, command: WriterCommand[R]) -> R:
        """Have the writing process execute a command, and return its result. Raises its error, or StorageUnavailable."""
        number = next(self._numbers)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._send(number, future, Execute(number, command))
        try:
            result: R = await asyncio.wait_for(future, self._timeout_seconds)
        except TimeoutError:
            raise self._too_late() from None
        if isinstance(result, ReceiverError):
            raise result
        return result

    def send(self, command: WriterCommand[Any]) -> None:
        """Have the writing process execute a command, without waiting for the result."""
        number = next(self._numbers)
        self._send(number, self._loop.create_future(), Execute(number, command))

    def data_received(self, data: bytes) -> None:
        """Receive replies, and give each to the task that waits for it."""
        for message in self._unpacker.feed(data):
            if isinstance(message, Result):
                _settle(self._commands, message.number, message.value)
            else:
                self._take_replies(message)
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """Answer 503 to all waiting deliveries. If the writing process was lost, the service ends; a supervisor restarts it."""
        self._unread.clear()
        for number in list(self._waiting):
            _settle(self._waiting, number, _answer_lost())
        for number in list(self._commands):
            _settle(self._commands, number, _command_lost())
        if not self._closing:
            _log.error("writer_lost")
            self._on_lost()

    def _has_room(self) -> bool:
        """Tell whether another delivery may wait.

        Late deliveries, which were answered 503, still wait for the database, so they count. Commands do not count, so that the
        service's own work never displaces deliveries.
        """
        return self.waiting() < self.max_waiting

    def _advance(self) -> None:
        """Read deliveries and send them, as long as little is under way to the writing process. The others wait as bytes.

        One turn of the loop reads one body, or some small ones; `_flush` continues in the next turn.
        """
        while self._unread:
            number, (delivery, read) = next(iter(self._unread.items()))
            if not self._may_read(len(delivery.body)):
                return
            del self._unread[number]
            try:
                found = read()
                self._put(Keep(number, found) if isinstance(found, Submission) else Read(number, found))
                self._read_bytes += len(delivery.body)
            except Exception as error:  # the error of another delivery must not end the task that runs here
                self._fail(number, error)

    def _may_read(self, body_bytes: int) -> bool:
        under_way = self._outgoing_bytes + self._transport.get_write_buffer_size()
        fits = not self._read_bytes or self._read_bytes + body_bytes <= _MAX_TURN_BYTES
        return fits and under_way < _MAX_UNDER_WAY_BYTES

    def _fail(self, number: int, error: Exception) -> None:
        future = self._waiting.pop(number, None)
        if future is not None and not future.done():
            future.set_exception(error)

    def _send(self, number: int, future: asyncio.Future[Any], message: Execute) -> None:
        if self._transport.is_closing():  # there will be no reply
            future.set_result(_command_lost())
            return
        self._commands[number] = future
        self._put(message)

    def _put(self, message: Request) -> None:
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        pieces = pack(message)
        self._outgoing += pieces
        self._outgoing_bytes += sum(map(len, pieces))

    def _flush(self) -> None:
        """Send the messages of this turn of the loop together, so that the writing process makes one batch of them.

        Large bodies are not copied.
        """
        if self._outgoing_bytes > _MAX_JOINED_BYTES:
            self._transport.writelines(self._outgoing)
        else:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing = []
        self._outgoing_bytes = self._read_bytes = 0
        self._advance()

    def _take_replies(self, message: Replies) -> None:
        self._healthy = message.healthy
        self._counters.writer_lines_dropped = message.lines_dropped
        if message.batch is not None:
            self._counters.take(message.batch)
            if message.batch.has_changes:
                self._on_change()
        for number, answer in message.answers:
            if not _settle(self._waiting, number, answer):
                self._correct(number, answer)

    def _give_up(self, number: int, delivery_id: str) -> None:
        self._late[number] = delivery_id
        if number in self._unread:  # it is recorded without its body, whose memory is no longer reserved
            delivery = self._unread[number][0]._replace(body=b"")
            self._unread[number] = delivery, partial(Submission, delivery, error=self._too_late())
        _settle(self._waiting, number, answers.for_error(self._too_late(), delivery_id))

    def _correct(self, number: int, answer: Answer) -> None:
        """Correct the record of a delivery that was stored after its sender had been answered 503."""
        delivery_id = self._late.pop(number, None)
        if delivery_id is not None and answer.status < 500:
            sent = answers.for_error(self._too_late(), delivery_id)
            self.send(CorrectAnswer(delivery_id, self._too_late(), sent))

    def _too_late(self) -> StorageUnavailable:
        return StorageUnavailable(f"The commit was not done within {self._timeout_seconds:g} seconds. Send it again.")

    async def _count(self) -> float:
        self._write_counts()
        return _COUNT_SECONDS

    def _write_counts(self) -> None:
        if self._unrecorded:
            minute_at = clock.to_micros(clock.now().replace(second=0, microsecond=0))
            self.send(CountUnrecorded(dict(self._unrecorded), minute_at))
            self._unrecorded.clear()


def _settle(waiting: dict[int, asyncio.Future[Any]], number: int, reply: Any) -> bool:
    """Give a reply to the task that waits for it; return False if none does."""
    future = waiting.pop(number, None)
    if future is not None and not future.done():
        future.set_result(reply)
    return future is not None


def _answer_lost() -> Answer:
    """Return the answer to deliveries whose writing process is lost."""
    return answers.for_error(StorageUnavailable("The service restarts. Send it again."), None)


def _command_lost() -> StorageUnavailable:
    """Return the error of commands whose writing process is lost."""
    return StorageUnavailable("The service restarts. Try again.")


def _do_nothing() -> None:
    """Do nothing."""
