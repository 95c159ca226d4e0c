"""Lines on their way to standard error: written by a thread, from a bounded queue, so that nobody waits for who reads them."""

import io
import os
import select
from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from time import monotonic

_MAX_BYTES = 1 << 20
_MAX_LINE_BYTES = 64 << 10
_REPORT_SECONDS = 5.0  # after which what was left out is reported although nothing else is logged


class LineWriter:
    """A bounded queue of lines, and the thread that writes them to a descriptor. `dropped` counts those that were not written.

    Lines that do not fit are dropped and counted, and so are those that cannot be written (closed pipe, full disk). A fork begins
    with an empty queue and a thread of its own.
    """

    def __init__(self, descriptor: int, report: Callable[[], None]) -> None:
        """`report` is called by the thread every few seconds, when there is room; it may put lines."""
        self._descriptor = descriptor
        self._report = report
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._changed = Condition()
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self.dropped = 0
        self._reported = 0
        self._thread: Thread | None = None

    def put(self, line: bytes) -> None:
        """Take a line that ends with a line feed; never wait for it to be written."""
        line = line if len(line) <= _MAX_LINE_BYTES else line[: _MAX_LINE_BYTES - 4] + b"...\n"
        with self._changed:
            if self._waiting_bytes + len(line) > _MAX_BYTES or not self._start():
                self.dropped += 1
                return
            self._lines.append(line)
            self._waiting_bytes += len(line)
            self._changed.notify_all()

    def take_dropped(self) -> int:
        """Return how many lines were dropped since this was asked last."""
        with self._changed:
            new, self._reported = self.dropped - self._reported, self.dropped
        return new

    def drain(self, seconds: float) -> None:
        """Wait until all is written, at most for so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines, seconds)

    def _start(self) -> bool:
        """Start the thread with the first line; return whether there is one."""
        if self._thread is None:
            thread = Thread(target=self._run, name="log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends, or the system has no thread left
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        report_at = monotonic() + _REPORT_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines, max(0.0, report_at - monotonic()))
                line = self._lines[0] if self._lines else None
            if line is not None:
                self._remove(line, written=self._write(line))
            if monotonic() >= report_at and self._waiting_bytes < _MAX_BYTES // 2:
                self._report()
                report_at = monotonic() + _REPORT_SECONDS

    def _remove(self, line: bytes, *, written: bool) -> None:
        with self._changed:
            self._lines.popleft()
            self._waiting_bytes -= len(line)
            self.dropped += not written
            self._changed.notify_all()

    def _write(self, line: bytes) -> bool:
        """Write a line, however long that takes; return whether it could be written."""
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # another process with this file has made it non-blocking
                select.select([], [self._descriptor], [])
            except OSError:
                return False
        return True


class QueuedStderr(io.TextIOBase):
    """Stands for `sys.stderr`: what is printed there, tracebacks too, goes the way of the log."""

    def __init__(self, lines: LineWriter, encoding: str, *, is_terminal: bool) -> None:
        self._lines = lines
        self._encoding = encoding
        self._is_terminal = is_terminal
        self._begun = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here
        """The encoding of the real one."""
        return self._encoding

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def isatty(self) -> bool:
        """Tell whether a person looks at it."""
        return self._is_terminal

    def fileno(self) -> int:
        """Return the descriptor, for what writes to it directly."""
        return 2

    def write(self, text: str) -> int:
        """Take text; whole lines are passed on."""
        *lines, self._begun = (self._begun + text).split("\n")
        if lines:
            self._put("\n".join(lines))
        return len(text)

    def flush(self) -> None:
        """Pass on a line that has not ended; wait for nobody."""
        begun, self._begun = self._begun, ""
        if begun:
            self._put(begun)

    def _put(self, text: str) -> None:
        self._lines.put(encode_line(text, self._encoding))


def encode_line(text: str, encoding: str) -> bytes:
    """Return a line in an encoding, whatever characters it has and whatever encoding that is."""
    try:
        return (text + "\n").encode(encoding, "backslashreplace")
    except LookupError:
        return (text + "\n").encode("utf-8", "backslashreplace")
