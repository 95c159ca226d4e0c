"""Bodies in a file: one body, one body on each line (JSON Lines), or an array of bodies. Pure.

A file may be of any size: only one body of it is in memory. What is not JSON is left to the source, which reads each body.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

_BLANK = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OUTSIDE = re.compile(rb'["\[\]{},]')
_INSIDE = re.compile(rb'["\\]')  # a string


class FileBody(NamedTuple):
    """One body of a file. `content` is None for a body over the limit.

    `number` is its 1-based number. `read_bytes` is how much of the file was read up to here.
    """

    number: int
    content: bytes | None
    read_bytes: int


def split_bodies(chunks: Iterable[bytes], limit: int, *, sends_arrays: bool) -> Iterator[FileBody]:
    """Yield the bodies of a file. `limit` is the maximum size of a body in bytes.

    If the sender `sends_arrays` itself, an array is one body; otherwise it is one of bodies.
    """
    file_chunks = _FileChunks(iter(chunks))
    start = file_chunks.read_start(limit)
    head = start.removeprefix(_BYTE_ORDER_MARK).lstrip(_BLANK)
    if not head:
        return
    if _has_lines(head):
        contents = _split_lines(chain([head], file_chunks), limit)
    elif not sends_arrays and head.startswith(b"["):
        contents = _split_array(chain([head[1:]], file_chunks), limit)
    elif len(start) > limit and b"\n" not in head:
        contents = _split_lines(chain([head], file_chunks), limit)  # the first line is over the limit; others may follow
    else:
        contents = iter([start if len(start) <= limit else None])
    for number, content in enumerate(contents, 1):
        yield FileBody(number, content, file_chunks.read_bytes)


class _FileChunks:
    """The chunks of a file, and how many bytes of them were read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.read_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.read_bytes += len(chunk)
            yield chunk

    def read_start(self, limit: int) -> bytes:
        """Return the start of the file: more than `limit` bytes, or all."""
        start = bytearray()
        for chunk in self:
            start += chunk
            if len(start) > limit:
                break
        return bytes(start)


def _has_lines(head: bytes) -> bool:
    """Tell whether each line is a body: the first line is one, or the second line begins one that is not inside the first."""
    first, _, rest = head.partition(b"\n")
    first, rest = first.rstrip(_BLANK), rest.lstrip(b"\r\n")
    if first.startswith(b"{") and first.endswith(b"}"):
        return bool(rest.strip(_BLANK))
    opens_array = first.startswith(b"[") and not first.endswith(b"]")
    return rest.startswith((b"{", b"[")) and not opens_array and first != b"{"


def _split_lines(chunks: Iterable[bytes], limit: int) -> Iterator[bytes | None]:
    """Yield the lines that are not blank, without white space around them; None for each one over the limit."""
    line, is_long = bytearray(), False
    for chunk in chain(chunks, [b"\n"]):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            line += end
            content = bytes(line.strip(_BLANK))
            if is_long or len(content) > limit:
                yield None
            elif content:
                yield content
            line, is_long = bytearray(), False
        line += rest
        if len(line) > limit + len(_BLANK):
            line, is_long = bytearray(), True


def _split_array(chunks: Iterable[bytes], limit: int) -> Iterator[bytes | None]:
    """Yield the elements of an array after its first bracket, and what follows the array, which is no body."""
    scanner = _ArrayScanner(limit)
    for chunk in chunks:
        yield from scanner.feed(chunk)
    yield from scanner.end()


class _ArrayScanner:
    """Finds the ends of the elements of an array. It looks at strings and brackets only."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._element = bytearray()
        self._is_long = False
        self._depth = 1
        self._in_string = False
        self._is_escaped = False
        self._is_first = True

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """Yield the elements that end in this chunk."""
        position = 0
        while position < len(chunk):
            if self._is_escaped or self._depth == 0:
                end = position + 1 if self._is_escaped else len(chunk)
                self._is_escaped = False
                self._add(chunk[position:end])
                position = end
                continue
            found = (_INSIDE if self._in_string else _OUTSIDE).search(chunk, position)
            if found is None:
                self._add(chunk[position:])
                return
            self._add(chunk[position : found.start()])
            position = found.end()
            yield from self._take(found.group())

    def end(self) -> Iterator[bytes | None]:
        """Yield what is left: an element without an end, or what follows the array."""
        if self._depth > 0 or self._element.strip(_BLANK) or self._is_long:
            yield self._finish()

    def _take(self, token: bytes) -> Iterator[bytes | None]:
        if self._in_string:
            self._in_string, self._is_escaped = token != b'"', token == b"\\"
        elif token == b'"':
            self._in_string = True
        elif token in b"[{":
            self._depth += 1
        elif token in b"]}":
            self._depth -= 1
        if self._depth == 0 or (self._depth == 1 and token == b"," and not self._in_string):
            is_empty = self._depth == 0 and self._is_first and not self._element.strip(_BLANK) and not self._is_long
            if not is_empty:
                yield self._finish()
            return
        self._add(token)

    def _add(self, piece: bytes) -> None:
        if not self._is_long:
            self._element += piece if self._element else piece.lstrip(_BLANK)
        if len(self._element) > self._limit:
            self._is_long = True
            self._element.clear()

    def _finish(self) -> bytes | None:
        content = None if self._is_long else bytes(self._element.strip(_BLANK))
        self._element, self._is_long, self._is_first = bytearray(), False, False
        return content
