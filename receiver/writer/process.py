"""The writing process: it stores all waiting deliveries in one transaction, then replies.

It also parses large bodies, which would block the event loop.

A batch has the deliveries that arrived during the previous commit; it never waits for more. This is a process, not a thread: a
thread would compete with the event loop for the interpreter lock, and two processes do 1.7 times as much.

It ends when its socket is closed. So it outlives the service by one commit at most, however the service ends.
"""

import gc
import os
import signal
import socket
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

import structlog

from receiver import clock
from receiver.domain import answers
from receiver.domain.changes import Subscription
from receiver.domain.records import Answer, Submission
from receiver.errors import ReadingFailed, ReceiverError, StorageUnavailable, Unreadable, name_error
from receiver.logs import setup
from receiver.logs.outage import Outage
from receiver.storage.database import Database
from receiver.storage.imports import ImportKeeper
from receiver.storage.replay import ReplayDecider
from receiver.storage.transactions import Transactions
from receiver.writer.commands.deliveries import Checkpoint, Tidy, TryTables
from receiver.writer.executor import CommandExecutor, ReadBody, WriterCommand, name_failure
from receiver.writer.inbox import Inbox
from receiver.writer.wire import Batch, Execute, Keep, Read, Replies, Request, Result, Unpacker, pack

_MAX_MESSAGES = 1000  # in one batch, so that no transaction holds its locks for long
_MESSAGE_BYTES = 1024  # so many bytes of an unread body count as one message
_MAX_UNRECORDED = 500  # failed deliveries, to record when the database works again
_MAX_UNRECORDED_AT_ONCE = 50
_CHORE_SECONDS = 5.0
_READ_BYTES = 1 << 20
_CHECKPOINT_MILLISECONDS = 20  # the time for which a checkpoint, and so deliveries, may wait for a reader
_CHECKPOINT_PAUSE_SECONDS = 0.5
_WAKE_PAUSE_SECONDS = 0.02  # between two notifications, each for many commits

_log = structlog.get_logger()


def start(
    database: Database,
    max_future: timedelta,
    read: ReadBody,
    subscriptions: Sequence[Subscription] = (),
    others: Sequence[socket.socket] = (),
) -> tuple[BaseProcess, socket.socket]:
    """Fork the writing process; return it with our end of the socket. Call this before there are threads.

    `others` are sockets that the writing process closes.
    """
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _READ_BYTES)
    arguments = (theirs, (ours, *others), database, max_future, read, subscriptions)
    process = get_context("fork").Process(target=_run, args=arguments, name="writer")
    process.start()
    theirs.close()
    return process, ours


def _run(
    channel: socket.socket,
    others: Sequence[socket.socket],
    database: Database,
    max_future: timedelta,
    read: ReadBody,
    subscriptions: Sequence[Subscription],
) -> None:
    for other in others:
        other.close()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the service ends it by closing the socket, after the last delivery
    code = 0
    try:
        Writer(channel, database, max_future, read, subscriptions).serve()
    except BaseException:
        code = 1
        _log.exception("writer_failed")
    finally:
        setup.drain()
        os._exit(code)


def tune_gc() -> None:
    """Collect cycles rarely: reference counts free a delivery. Call this before the fork: a collection touches all pages."""
    gc.unfreeze()  # what the imports left over
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class Writer:
    """Serves one socket until the other end is closed."""

    def __init__(
        self,
        channel: socket.socket,
        database: Database,
        max_future: timedelta,
        read: ReadBody,
        subscriptions: Sequence[Subscription],
    ) -> None:
        self._channel = channel
        self._read = read
        self._transactions = Transactions(database)
        replays = ReplayDecider(database, max_future, subscriptions)
        imports = ImportKeeper(database, max_future, subscriptions)
        self._executor = CommandExecutor(database, self._transactions, read, replays, imports)
        self._inbox = Inbox(self._executor, max_future, subscriptions)
        self._unpacker = Unpacker()
        self._waiting: deque[Request] = deque()
        self._unrecorded: deque[Submission] = deque(maxlen=_MAX_UNRECORDED)
        self._outage = Outage()
        self._batch: Batch | None = None
        self._next_chores = monotonic()
        self._next_checkpoint = monotonic()
        self._next_wake = monotonic()

    def serve(self) -> None:
        """Serve until the other end is closed, then close the database."""
        try:
            while self._listen():
                self._work()
            while self._waiting:
                self._work()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the service is gone; senders repeat unanswered deliveries
        self._tidy()
        self._transactions.close()

    def _listen(self) -> bool:
        """Receive requests; wait for one only if none is waiting. Return False at the end of the stream."""
        idle_seconds = _WAKE_PAUSE_SECONDS if self._transactions.has_changes() else 1.0
        self._channel.settimeout(self._executor.backups.wait_seconds(idle_seconds))
        while sum(_weight(request) for request in self._waiting) < _MAX_MESSAGES:
            try:
                piece = self._channel.recv(_READ_BYTES)
            except (TimeoutError, BlockingIOError):
                break
            if not piece:
                return False
            self._waiting.extend(self._unpacker.feed(piece))
            self._channel.settimeout(0 if self._waiting else 1.0)
        self._channel.settimeout(None)
        return True

    def _work(self) -> None:
        """Process one batch of the waiting requests."""
        batch, rest = self._take_batch()
        answers = self._keep(batch) if batch or (self._unrecorded and not self._outage.lasts) else []
        results = [Result(request.number, self._do(request.command)) for request in rest]
        if answers or results:
            self._reply(answers, results)
        if monotonic() >= self._next_chores:
            self._do_chores()
        self._checkpoint_wal()
        self._wake_relays()
        self._executor.backups.advance()

    def _take_batch(self) -> tuple[list[Keep], list[Execute]]:
        batch: list[Keep] = []
        rest: list[Execute] = []
        weight = 0
        while self._waiting and weight < _MAX_MESSAGES:
            request = self._waiting.popleft()
            if isinstance(request, Read):  # not earlier, because a parsed delivery takes many times its bytes
                request = Keep(request.number, self._read(request.unread))
            weight += _weight(request)
            if isinstance(request, Keep):
                batch.append(request)
            else:
                rest.append(request)
        return batch, rest

    def _keep(self, batch: list[Keep]) -> list[tuple[int, Answer]]:
        """Store a batch, together with failed deliveries that could not be recorded while the database did not work."""
        unrecorded = [] if self._outage.lasts else self._take_unrecorded()
        stored = self._store([*(request.submission for request in batch), *unrecorded])
        return [(request.number, answer or _refuse(request)) for request, answer in zip(batch, stored, strict=False)]

    def _store(self, submissions: list[Submission]) -> list[Answer | None]:
        """Store submissions together. Those that fail are recorded later, without their bodies.

        Only a stored submission with messages proves that a fault is over.
        """
        began = monotonic()
        stored = self._inbox.keep(submissions, clock.now())
        counted = self._inbox.take_verdicts(), self._inbox.take_undecidable(), self._inbox.take_changes()
        self._batch = Batch(len(submissions), monotonic() - began, *counted)
        failed = [submission for submission, answer in zip(submissions, stored, strict=True) if answer is None]
        if failed:
            self._note_fault(self._inbox.take_fault() or "a delivery could not be stored")
        elif any(submission.messages for submission in submissions):
            self._note_end()
        for submission in failed:
            error = submission.error
            if error is None or isinstance(error, Unreadable | ReadingFailed):  # the sender got 503 instead
                error = StorageUnavailable("The database could not store it.")
            self._unrecorded.append(Submission(submission.delivery._replace(body=b""), error=error))
        return stored

    def _take_unrecorded(self) -> list[Submission]:
        return [self._unrecorded.popleft() for _ in range(min(len(self._unrecorded), _MAX_UNRECORDED_AT_ONCE))]

    def _do(self, command: WriterCommand[Any]) -> Any:
        """Execute a command; return its result, or its error."""
        try:
            return self._executor.do(command)
        except ReceiverError as error:
            return error
        except Exception as error:  # no command may end the one process that writes
            _log.error("command_failed", command=type(command).__name__, error=name_error(error))
            return name_failure(error)

    def _do_chores(self) -> None:
        """Write counts, trim tables, and find out whether the database works again."""
        self._next_chores = monotonic() + _CHORE_SECONDS
        lasted = self._outage.lasts
        fault = self._tidy()
        if fault is None and lasted:
            fault = self._try_tables()
        if fault is not None:
            self._note_fault(fault)
        elif lasted and None not in self._store(self._take_unrecorded()):
            self._note_end()
        if self._outage.lasts != lasted:
            self._reply([], [])

    def _try_tables(self) -> str | None:
        """Return the reason why a table cannot be written, or None if all can."""
        result = self._do(TryTables())
        return result.message if isinstance(result, ReceiverError) else None

    def _note_fault(self, cause: str) -> None:
        if self._outage.begin(cause):
            _log.error("storage_unavailable", cause=cause)

    def _note_end(self) -> None:
        if self._outage.end():
            _log.info("storage_recovered")

    def _checkpoint_wal(self) -> None:
        """Checkpoint a WAL that has grown. SQLite does that by itself only at moments without readers.

        With many readers there are none. Then the WAL would grow without bound, and the checkpoint after that would delay
        deliveries for long.
        """
        if monotonic() < self._next_checkpoint or not self._transactions.has_long_wal():
            return
        if self._do(Checkpoint(_CHECKPOINT_MILLISECONDS)) is not True:
            self._next_checkpoint = monotonic() + _CHECKPOINT_PAUSE_SECONDS

    def _wake_relays(self) -> None:
        """Notify relays in other processes of commits. This is done after the replies, so that no delivery waits for it."""
        if monotonic() >= self._next_wake and self._transactions.has_changes():
            self._transactions.wake_relays()
            self._next_wake = monotonic() + _WAKE_PAUSE_SECONDS

    def _tidy(self) -> str | None:
        """Write the counts, and trim tables to their limits. Return the reason if that failed, or None."""
        counts = self._executor.counts.take()
        result = self._do(Tidy(counts, clock.to_micros(clock.now())))
        if isinstance(result, ReceiverError):
            self._executor.counts.give_back(counts)
            return result.message
        return None

    def _reply(self, answers: list[tuple[int, Answer]], results: list[Result]) -> None:
        batch, self._batch = self._batch, None
        pieces = pack(Replies(not self._outage.lasts, answers, batch, setup.count_dropped()))
        for result in results:
            pieces += pack(result)
        self._channel.sendall(b"".join(pieces))


def _refuse(request: Keep) -> Answer:
    error = StorageUnavailable("The delivery could not be stored. Send it again.")
    return answers.for_error(error, request.submission.delivery.id)


def _weight(request: Request) -> int:
    if isinstance(request, Read):
        return 1 + len(request.unread.delivery.body) // _MESSAGE_BYTES
    return 1 + len(request.submission.messages) if isinstance(request, Keep) else 1
