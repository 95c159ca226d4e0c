"""A stop in bounded time: the first SIGTERM or SIGINT begins it, a second one ends everything at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType

import structlog

from receiver.logs import setup

STOP_SECONDS = 30.0
"""The time between the first signal and the end of all our processes, even if one hangs."""

_FORCED_SHARE = 0.9

_log = structlog.get_logger()


class StopAsked(BaseException):
    """A signal that arrived before the service had started."""


class Stopping:
    """The stop of the service: whether it was asked for, and the time that is left."""

    def __init__(self, seconds: float = STOP_SECONDS) -> None:
        self._seconds = seconds
        self._asked_at: float | None = None
        self._interrupts = False
        self._on_asked: list[Callable[[], None]] = []
        self._on_forced: list[Callable[[], None]] = []

    def listen(self) -> None:
        """Handle the signals. Call this in the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def is_asked(self) -> bool:
        """Tell whether the service was asked to stop."""
        return self._asked_at is not None

    def left(self, share: float) -> float:
        """Return the seconds until this share (0 to 1) of the time is over; before the request to stop, the whole share."""
        begun = monotonic() if self._asked_at is None else self._asked_at
        return max(0.1, begun + share * self._seconds - monotonic())

    def when_asked(self, call: Callable[[], None]) -> None:
        """Call a function when the service is asked to stop, or at once if it was. It may run inside a signal handler."""
        self._on_asked.append(call)
        if self.is_asked():
            call()

    def when_forced(self, call: Callable[[], None]) -> None:
        """Call a function just before this process ends without waiting."""
        self._on_forced.append(call)

    def ask(self) -> None:
        """Begin the stop: the time runs from now on."""
        if self._asked_at is not None:
            return
        self._asked_at = monotonic()
        threading.Thread(target=self._watch, name="stopping", daemon=True).start()
        for call in self._on_asked:
            call()

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let a signal interrupt the block. Raises StopAsked."""
        self._interrupts = True
        try:
            if self.is_asked():
                raise StopAsked
            yield
        finally:
            self._interrupts = False

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.is_asked():
            self._end(128 + number)
        self.ask()
        if self._interrupts:
            raise StopAsked

    def _watch(self) -> None:
        threading.Event().wait(self.left(_FORCED_SHARE))
        _log.error("stop_forced", seconds=self._seconds)
        self._end(1)

    def _end(self, code: int) -> None:
        for call in self._on_forced:
            with suppress(Exception):
                call()
        setup.drain()
        os._exit(code)
