"""How much memory a service takes: what would be free if it were not there.

Its processes share much: what the writing process has from the one that forked it, and libraries. RSS counts such a page for
each of them; PSS divides it by all that map it, strangers too, so it sinks when other programs run. Here pages of no file count
by share (only the family has them), and those of files once, as if nobody else had them.
"""

import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

_SAMPLE_SECONDS = 0.2


class Part(NamedTuple):
    """What one process has, in bytes: its share of pages of no file, and what it maps of files."""

    anonymous: int
    mapped: int


def read_rollup(text: str) -> Part:
    """Read a process's `smaps_rollup`."""
    lines = (line.split() for line in text.splitlines()[1:])
    found = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}
    return Part(found["Pss_Anon"], found["Rss"] - found["Anonymous"])


class MemoryWatch(threading.Thread):
    """Samples what a process and its children take together, and remembers the most."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            with suppress(psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):
                self.peak_bytes = max(self.peak_bytes, self._measure())

    def stop(self) -> None:
        """Stop looking; `peak_bytes` is final."""
        self._over.set()
        if self.is_alive():
            self.join()

    def _measure(self) -> int:
        family = (self._process, *self._process.children(recursive=True))
        parts = [read_rollup(Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")) for process in family]
        return sum(part.anonymous for part in parts) + max(part.mapped for part in parts)
