"""What the service and its writing process say to each other: pickled records behind a length, over a socket pair.

Both ends are ours, one the fork of the other, so unpickling is no risk.
"""

import pickle
import struct
from typing import Any, NamedTuple

from receiver.records import Answer, Submission

_LENGTH = struct.Struct("!I")


class Keep(NamedTuple):
    """Keep this delivery; the reply to `number` is its Answer."""

    number: int
    submission: Submission


class Do(NamedTuple):
    """Call the method `name` of Upkeep in a transaction of its own; the reply to `number` is what it returns, or the error."""

    number: int
    name: str
    arguments: tuple[Any, ...]


class Batch(NamedTuple):
    """One commit: how many calls, how long it took, and how many messages of each source had each outcome."""

    deliveries: int
    seconds: float
    verdicts: dict[tuple[str, str], int]


class Replies(NamedTuple):
    """Replies by number, whether the database works, and the commit that they come from, if it was one of calls."""

    healthy: bool
    replies: list[tuple[int, Answer | Any]]
    batch: Batch | None = None


def pack(message: Keep | Do | Replies) -> bytes:
    """Return a message as bytes for the other end."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


class Unpacker:
    """Puts messages together again from the pieces in which they arrive."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, piece: bytes) -> list[Any]:
        """Take a piece and return the messages that are complete."""
        self._waiting += piece
        messages: list[Any] = []
        start = 0
        while len(self._waiting) - start >= _LENGTH.size:
            end = start + _LENGTH.size + _LENGTH.unpack_from(self._waiting, start)[0]
            if end > len(self._waiting):
                break
            with memoryview(self._waiting) as view:
                messages.append(pickle.loads(view[start + _LENGTH.size : end]))  # noqa: S301  the other end is our own fork
            start = end
        del self._waiting[:start]
        return messages
