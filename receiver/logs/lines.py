"""Output of lines to standard error by a thread, from a bounded queue, so that a slow reader holds up nothing."""

import io
import os
import select
from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from time import monotonic

_MAX_BYTES = 1 << 20
_MAX_LINE_BYTES = 64 << 10
_REPORT_SECONDS = 5.0  # between two reports of lines that were dropped or suppressed


class LineWriter:
    """A bounded queue of lines, and the thread that writes them to a descriptor.

    `dropped` counts lines that did not fit, or could not be written (closed pipe, full disk). A forked process begins with an
    empty queue and its own thread.
    """

    def __init__(self, descriptor: int, report: Callable[[], None]) -> None:
        """The thread calls `report` every few seconds, when there is room; `report` may put lines."""
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
        """Queue a line that ends with a line feed. Never waits."""
        line = line if len(line) <= _MAX_LINE_BYTES else line[: _MAX_LINE_BYTES - 4] + b"...\n"
        with self._changed:
            if self._waiting_bytes + len(line) > _MAX_BYTES or not self._start():
                self.dropped += 1
                return
            self._lines.append(line)
            self._waiting_bytes += len(line)
            self._changed.notify_all()

    def take_dropped(self) -> int:
        """Return the number of lines dropped since the last call of this method."""
        with self._changed:
            new, self._reported = self.dropped - self._reported, self.dropped
        return new

    def drain(self, seconds: float) -> None:
        """Wait until all lines are written, for at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines, seconds)

    def _start(self) -> bool:
        """Start the thread, if it does not run; return whether it runs."""
        if self._thread is None:
            thread = Thread(target=self._run, name="log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends, or the system has no more threads
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
        """Write a line and wait until it is written; return whether that worked."""
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # another process that shares the file has made it non-blocking
                select.select([], [self._descriptor], [])
            except OSError:
                return False
        return True


class QueuedStderr(io.TextIOBase):
    """A replacement for `sys.stderr`: printed text, tracebacks too, goes through the queue of the log."""

    def __init__(self, lines: LineWriter, encoding: str, *, is_terminal: bool) -> None:
        self._lines = lines
        self._encoding = encoding
        self._is_terminal = is_terminal
        self._begun = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here
        """The encoding of the original."""
        return self._encoding

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Tell whether the original is a terminal."""
        return self._is_terminal

    def fileno(self) -> int:
        """Return the descriptor, for code that writes to it directly."""
        return 2

    def write(self, text: str) -> int:
        """Take text; queue the complete lines."""
        *lines, self._begun = (self._begun + text).split("\n")
        if lines:
            self._put("\n".join(lines))
        return len(text)

    def flush(self) -> None:
        """Queue an incomplete line. Does not wait until it is written."""
        begun, self._begun = self._begun, ""
        if begun:
            self._put(begun)

    def _put(self, text: str) -> None:
        self._lines.put(encode_line(text, self._encoding))


def encode_line(text: str, encoding: str) -> bytes:
    """Encode a line. What the encoding cannot express is escaped; an unknown encoding means UTF-8."""
    try:
        return (text + "\n").encode(encoding, "backslashreplace")
    except LookupError:
        return (text + "\n").encode("utf-8", "backslashreplace")
