"""Handlers: the user's functions as targets. No function of the user runs in the thread of the relay."""

import asyncio
import inspect
import threading
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from receiver.domain.changes import Change
from receiver.domain.storable import make_storable
from receiver.errors import ReceiverError
from receiver.handlers import subscription_of
from receiver.relay.process_health import ProcessHealth

_MAX_ERROR_CHARACTERS = 4000
_GRACE_SECONDS = 1.0  # after the time-out, until a handler that still runs counts as stuck

Reply = Callable[[BaseException | None], None]
"""Takes the error of a handler, or None if it returned. Called once, in any thread."""


class HandlerFailed(ReceiverError):
    """A handler raised an error; the message is the end of its traceback."""

    code = "handler_failed"


class HandlerTarget:
    """One function as a target. An `async def` runs in an event loop of its own, any other function in a new thread.

    A function that is not `async def` may return an awaitable, as a wrapped or partial `async def` does. The loop awaits it.
    """

    runs_foreign_code = True

    def __init__(self, function: Callable[[Change], Any], timeout_seconds: float, health: ProcessHealth) -> None:
        self.subscription = subscription_of(function)
        self.timeout_seconds = timeout_seconds
        self._function = function
        self._health = health
        self._thread = LoopThread()

    async def deliver(self, change: Change) -> None:
        """Call the function and wait for its end. Raises HandlerFailed for any error of the function."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def reply(error: BaseException | None) -> None:
            failure = None if error is None else HandlerFailed(describe(error))
            with suppress(RuntimeError):  # the relay has ended
                loop.call_soon_threadsafe(_set, ended, failure)

        call = HandlerCall(self._function, change, reply, self._thread)
        call.start()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:  # the time-out, or the end of the relay
            call.cancel()
            loop.call_later(_GRACE_SECONDS, self._check_cancelled, ended, self._thread)
            raise

    async def close(self) -> None:
        """Do nothing: the threads end with the process."""

    def _check_cancelled(self, ended: "asyncio.Future[None]", used: "LoopThread") -> None:
        """Count a handler that still runs after its cancellation, and replace its event loop if it blocks that."""
        if ended.done():
            ended.exception()  # retrieved, as nothing waits for it any more
            return
        self._health.add_stuck_call()
        if used is self._thread and used.is_blocked():
            self._thread = LoopThread()


class HandlerCall:
    """One call of a handler. It replies exactly once, whatever the handler does."""

    def __init__(self, function: Callable[[Change], Any], change: Change, reply: Reply, thread: "LoopThread") -> None:
        self._function = function
        self._change = change
        self._reply = reply
        self._thread = thread
        self._task: asyncio.Task[None] | None = None
        self._awaits = inspect.iscoroutinefunction(function)
        self._is_cancelled = False

    def start(self) -> None:
        """Start in another thread."""
        if self._awaits:
            self._thread.run(lambda: self._begin(lambda: self._function(self._change)))
        else:
            threading.Thread(target=self._run, name="handler", daemon=True).start()

    def cancel(self) -> None:
        """Cancel an awaitable; a function in a thread cannot be cancelled."""
        self._is_cancelled = True
        if self._awaits:
            self._thread.run(self._cancel_task)

    def _run(self) -> None:
        try:
            result = self._function(self._change)
            if inspect.isawaitable(result):
                self._awaits = True
                self._thread.run(lambda: self._begin(lambda: result))
                return
            if isinstance(result, GeneratorType | AsyncGeneratorType):
                raise TypeError("The handler contains yield, so calling it does nothing.")
        except BaseException as error:  # SystemExit too: it must not end the relay
            self._reply(error)
        else:
            self._reply(None)

    def _begin(self, call: Callable[[], Awaitable[Any]]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._wait_for(call))
        if self._is_cancelled:
            self._cancel_task()

    async def _wait_for(self, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            await call()
        except BaseException as error:  # SystemExit and KeyboardInterrupt would pass through the task and end its loop
            self._reply(error)
        else:
            self._reply(None)

    def _cancel_task(self) -> None:
        if self._task is not None:  # after its first step: a task that never started could not reply
            asyncio.get_running_loop().call_soon(self._task.cancel)


class LoopThread:
    """An event loop in a thread of its own, started on demand. No error in it ends it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_answered = True

    def run(self, function: Callable[[], None]) -> None:
        """Call a function in the loop."""
        if self._loop is None:
            self._loop = self._start()
        self._is_answered = False
        self._loop.call_soon_threadsafe(function)
        self._loop.call_soon_threadsafe(self._answer)

    def is_blocked(self) -> bool:
        """Return whether something blocks the loop."""
        return not self._is_answered

    def _answer(self) -> None:
        self._is_answered = True

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        try:
            threading.Thread(target=self._serve, args=(loop,), name="handlers", daemon=True).start()
        except RuntimeError:  # no more threads
            loop.close()
            raise
        return loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while not loop.is_closed():
            try:
                loop.run_forever()
            except BaseException:  # noqa: S112  from a task that a handler left behind
                continue


def describe(error: BaseException) -> str:
    """Return the end of a traceback as text that every database stores. Formatting a foreign error may raise another one."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:
        text = f"{type(error).__name__}, which cannot be shown"
    return make_storable(text[-_MAX_ERROR_CHARACTERS:])


def _set(future: "asyncio.Future[None]", failure: HandlerFailed | None) -> None:
    if failure is None:
        future.set_result(None)
    else:
        future.set_exception(failure)
