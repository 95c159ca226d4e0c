"""The messages between the service and its writing process, over a socket pair.

A message is a header (length and kind), then its content. msgspec packs parsed deliveries and answers. Rare and large messages
are pickled: pickle accepts any object, and does not copy a large body, which would block the event loop. Unpickling is no risk
here, because one end is a fork of the other.
"""

import pickle
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.msgpack import Decoder, Encoder

from receiver.domain.records import Answer, Submission, UnreadDelivery
from receiver.writer.executor import WriterCommand

_HEADER = struct.Struct("!IB")


class Keep(NamedTuple):
    """Store this delivery; the reply to `number` is its Answer."""

    number: int
    submission: Submission


class Read(NamedTuple):
    """Parse this delivery and store it; the reply to `number` is its Answer."""

    number: int
    unread: UnreadDelivery


class Execute(NamedTuple):
    """Execute this command; the reply to `number` is its Result."""

    number: int
    command: WriterCommand[Any]


class Batch(NamedTuple):
    """One commit: the number of deliveries, its duration, and the number of messages by source and outcome.

    Deliveries of tests are not counted in it. `undecidable` is the number of messages and deliveries by source that our own code
    failed on. `has_changes`: there may be changes for targets.
    """

    deliveries: int
    seconds: float
    verdicts: dict[tuple[str, str], int]
    undecidable: dict[str, int]
    has_changes: bool = False


class Replies(NamedTuple):
    """Answers by number, with the commit that they come from, if there was one. `healthy`: the database works.

    `lines_dropped` is the number of log lines that the writing process has dropped since its start.
    """

    healthy: bool
    answers: list[tuple[int, Answer]]
    batch: Batch | None = None
    lines_dropped: int = 0


class Result(NamedTuple):
    """The value that a command returned, or the error that it raised."""

    number: int
    value: Any


Request = Keep | Read | Execute


class _Pieces(NamedTuple):
    """A file for pickle that collects its output. Pickle passes a large body to `write` without copying it."""

    write: Callable[[bytes], object]


_encoder = Encoder(enc_hook=pickle.dumps)  # the hook is for the error of a delivery
_KINDS = {Keep: 1, Replies: 2}
_UNPACK: tuple[Callable[[memoryview], Any], ...] = (
    pickle.loads,
    Decoder(Keep, dec_hook=lambda _, content: pickle.loads(content)).decode,  # noqa: S301  the other end is our own fork
    Decoder(Replies).decode,
)
_PICKLED = 0


def pack(message: Request | Replies | Result) -> list[bytes]:
    """Return the pieces of a message to send to the other end, in order."""
    kind, pieces = _KINDS.get(type(message), _PICKLED), list[bytes]()
    if kind != _PICKLED:
        try:
            pieces = [_encoder.encode(message)]
        except (UnicodeEncodeError, OverflowError):  # half of a surrogate pair, or an integer of more than 64 bits
            kind = _PICKLED
    if kind == _PICKLED:
        pickle.dump(message, _Pieces(pieces.append), protocol=pickle.HIGHEST_PROTOCOL)
    return [_HEADER.pack(sum(map(len, pieces)), kind), *pieces]


class Unpacker:
    """Assembles messages from the pieces in which they arrive."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, piece: bytes) -> list[Any]:
        """Add a piece and return the messages that are complete now."""
        self._waiting += piece
        messages: list[Any] = []
        start = 0
        while len(self._waiting) - start >= _HEADER.size:
            length, kind = _HEADER.unpack_from(self._waiting, start)
            end = start + _HEADER.size + length
            if end > len(self._waiting):
                break
            with memoryview(self._waiting) as view:
                messages.append(_UNPACK[kind](view[start + _HEADER.size : end]))
            start = end
        del self._waiting[:start]
        return messages
