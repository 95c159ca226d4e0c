"""The output of `strace -f -y` as records in order of time."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_LINE = re.compile(r"(?P<pid>\d+)\s+(?P<rest>.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?:\d+<(?P<file>[^>]*)>)?(?P<text>.*)")
_SYNCS = {"fsync", "fdatasync"}
_WRITES = {"write", "writev", "sendto", "sendmsg", "pwrite64", "pwritev"}
_READS = {"read", "recvfrom", "recvmsg"}


class SystemCall(NamedTuple):
    """One system call: `file` is the file of its descriptor, `text` the rest of its line."""

    name: str
    file: str
    text: str

    @property
    def is_sync(self) -> bool:
        return self.name in _SYNCS and self.text.rstrip().endswith("= 0")

    @property
    def is_write(self) -> bool:
        return self.name in _WRITES

    @property
    def is_read(self) -> bool:
        return self.name in _READS


def read_trace(path: Path) -> list[SystemCall]:
    """Return the system calls. A write is placed at its beginning, a read and a sync at their end.

    So whatever is between a call and its answer has really happened in between.
    """
    return list(_read_lines(path.read_text(encoding="utf-8", errors="replace").splitlines()))


def _read_lines(lines: list[str]) -> Iterator[SystemCall]:
    begun: dict[str, str] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        pid, rest = match["pid"], match["rest"]
        resumed = _RESUMED.match(rest)
        if resumed:
            call = _read_call(begun.pop(pid, "") + resumed["rest"])
            if call is not None and not call.is_write:
                yield call
            continue
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
            call = _read_call(begun[pid])
            if call is not None and call.is_write:
                yield call
            continue
        call = _read_call(rest)
        if call is not None:
            yield call


def _read_call(text: str) -> SystemCall | None:
    match = _CALL.match(text)
    return SystemCall(match["name"], match["file"] or "", match["text"]) if match else None
