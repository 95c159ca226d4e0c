"""What the service and its writing process say to each other: pickled records behind a length, over a socket pair.

Both ends are ours, one the fork of the other, so unpickling is no risk. Records that every call needs travel as bare tuples: to
pickle a named one takes five times as long.
"""

import pickle
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from receiver.domain.records import Answer, Delivery, Event, Message, Snapshot, Submission, Unread
from receiver.writer.executor import WriterCommand

_LENGTH = struct.Struct("!I")
_SNAPSHOT = Message._fields.index("snapshot")
_EVENTS = _SNAPSHOT + 1  # the next one

_name: Any = tuple.__new__  # as `Event(*fields)`, without looking at each field


class Keep(NamedTuple):
    """Keep this delivery; the reply to `number` is its Answer."""

    number: int
    submission: Submission


class Read(NamedTuple):
    """Read this delivery and keep it; the reply to `number` is its Answer."""

    number: int
    unread: Unread


class Execute(NamedTuple):
    """Execute this command; the reply to `number` is what it returns, or its error."""

    number: int
    command: WriterCommand[Any]


class Batch(NamedTuple):
    """One commit: how many calls, how long it took, and how many messages of each source had each outcome.

    `undecidable` counts, by source, what our own code failed to decide or to read.
    """

    deliveries: int
    seconds: float
    verdicts: dict[tuple[str, str], int]
    undecidable: dict[str, int]


class Replies(NamedTuple):
    """Replies by number, whether the database works, and the commit that they come from, if it was one of calls.

    `lines_dropped` is how many log lines the writing process has dropped since it started.
    """

    healthy: bool
    replies: list[tuple[int, Answer | Any]]
    batch: Batch | None = None
    lines_dropped: int = 0


def pack(message: Keep | Read | Execute | Replies) -> list[bytes]:
    """Return a message as the pieces to send to the other end, in order."""
    if isinstance(message, Read | Execute):
        pieces = _pickle_in_pieces(message)
    else:
        bare = _strip_keep(message) if isinstance(message, Keep) else _strip_replies(message)
        pieces = [pickle.dumps(bare, protocol=pickle.HIGHEST_PROTOCOL)]
    return [_LENGTH.pack(sum(map(len, pieces))), *pieces]


class _Pieces(NamedTuple):
    """What pickle takes for a file: it writes a large body to it as the object that it is, uncopied."""

    write: Callable[[bytes], object]


def _pickle_in_pieces(message: Read | Execute) -> list[bytes]:
    """Pickle without a copy of large bodies, which would hold up the event loop. For small messages it is slower."""
    pieces: list[bytes] = []
    pickle.dump(message, _Pieces(pieces.append), protocol=pickle.HIGHEST_PROTOCOL)
    return pieces


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
                message = pickle.loads(view[start + _LENGTH.size : end])  # noqa: S301  the other end is our own fork
            messages.append(_name_again(message))
            start = end
        del self._waiting[:start]
        return messages


def _name_again(content: Any) -> Keep | Read | Execute | Replies:
    if isinstance(content, Read | Execute):
        return content
    return _name_keep(*content) if isinstance(content, tuple) else _name_replies(*content)


def _strip_keep(keep: Keep) -> tuple[Any, ...]:
    delivery, messages, *rest = keep.submission
    return keep.number, tuple(delivery), [_strip_message(message) for message in messages], *rest


def _strip_message(message: Message) -> tuple[Any, ...]:
    snapshot = None if message.snapshot is None else tuple(message.snapshot)
    return message[:_SNAPSHOT], snapshot, [tuple(event) for event in message.events], message[_EVENTS + 1 :]


def _name_keep(number: int, delivery: tuple[Any, ...], messages: list[tuple[Any, ...]], *rest: Any) -> Keep:
    named = tuple([_name_message(*message) for message in messages])
    return Keep(number, _name(Submission, (_name(Delivery, delivery), named, *rest)))


def _name_message(
    head: tuple[Any, ...], snapshot: tuple[Any, ...] | None, events: list[tuple[Any, ...]], tail: tuple[Any, ...]
) -> Message:
    named = tuple([_name(Event, event) for event in events])
    return cast("Message", _name(Message, (*head, None if snapshot is None else _name(Snapshot, snapshot), named, *tail)))


def _strip_replies(message: Replies) -> list[Any]:
    """Return a list, which tells it from a call."""
    replies = [
        (number, tuple(reply), True) if isinstance(reply, Answer) else (number, reply, False) for number, reply in message.replies
    ]
    return [message.healthy, replies, message.batch, message.lines_dropped]


def _name_replies(healthy: bool, replies: list[tuple[int, Any, bool]], *rest: Any) -> Replies:  # noqa: FBT001  as on the wire
    named = [(number, _name(Answer, reply) if is_answer else reply) for number, reply, is_answer in replies]
    return Replies(healthy, named, *rest)
