"""What a relay process and the process that started it say to each other: pickled records behind a length, over a socket pair.

The relay runs the user's code, which may write anything into any file descriptor. So the other side takes nothing large from it,
and treats what it cannot read as the end of that relay.
"""

import pickle
import struct
from typing import Any, NamedTuple

from receiver.writer.executor import WriterCommand

_LENGTH = struct.Struct("!I")
_MAX_BYTES = 32 << 20


class Hello(NamedTuple):
    """The relay has read its targets: their kinds and subscriptions. Otherwise `error` says what is wrong with the settings."""

    targets: tuple[Any, ...]
    error: str | None = None


class Begin(NamedTuple):
    """The relay may claim from now on, under marks that begin with `owner`."""

    owner: str


class CommandRequest(NamedTuple):
    """The relay wants this command executed; the answer to `number` is a CommandResult."""

    number: int
    command: WriterCommand[Any]


class CommandResult(NamedTuple):
    """What a command returned, or the error that it raised."""

    number: int
    result: Any


class Wake(NamedTuple):
    """Changes were made."""


class Ping(NamedTuple):
    """Either side says that it lives; the relay answers each with one of its own."""


class Finish(NamedTuple):
    """The relay is to claim nothing more, to finish what is under way for at most so long, and to end."""

    seconds: float


class Goodbye(NamedTuple):
    """The relay ends by its own decision. An exit code cannot say so: a handler may end the process with any.

    `is_worn`: it wants to be replaced, as calls of handlers are stuck in it, or as it `lacks` files, threads or memory. What is
    under way then may be the cause, and was not given back.
    """

    is_worn: bool
    lacks: str | None = None


class MalformedMessage(Exception):
    """What came is none of the records above."""


_KINDS = (Hello, Begin, CommandRequest, CommandResult, Wake, Ping, Finish, Goodbye)


def pack(message: Any) -> bytes:
    """Return a record as bytes for the other side."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


class RelayUnpacker:
    """Puts records together again from the pieces in which they arrive."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, piece: bytes) -> list[Any]:
        """Take a piece and return the records that are complete. Raises Unreadable."""
        self._waiting += piece
        records: list[Any] = []
        while len(self._waiting) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._waiting)[0]
            if end > _MAX_BYTES:
                raise MalformedMessage
            if end > len(self._waiting):
                break
            records.append(_read(bytes(self._waiting[_LENGTH.size : end])))
            del self._waiting[:end]
        return records


def _read(content: bytes) -> Any:
    try:
        record = pickle.loads(content)  # noqa: S301  of our own code, run by the same user
    except Exception:
        raise MalformedMessage from None
    if type(record) not in _KINDS:
        raise MalformedMessage
    return record
