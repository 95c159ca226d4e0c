"""Messages between a relay process and its supervisor: pickled records with a length prefix, over a socket pair.

The relay runs the user's code, which may write anything into any file descriptor. So the supervisor accepts nothing large, and
treats a malformed message as the end of that relay.
"""

import pickle
import struct
from typing import Any, NamedTuple

from receiver.writer.executor import WriterCommand

_LENGTH = struct.Struct("!I")
_MAX_BYTES = 32 << 20


class Hello(NamedTuple):
    """The relay has read its targets: their kinds and subscriptions. `error`: what is wrong with the settings, if anything."""

    targets: tuple[Any, ...]
    error: str | None = None


class Begin(NamedTuple):
    """The relay may claim changes from now on. The marks of its claims begin with `owner`."""

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
    """There are new changes."""


class TargetTestRequest(NamedTuple):
    """The relay has to send a test change to this target; the answer to `number` is a TargetTestReply."""

    number: int
    target: str


class TargetTestReply(NamedTuple):
    """What the target answered to a test change: a `TargetTestResult`."""

    number: int
    result: Any


class Ping(NamedTuple):
    """A sign of life; the relay answers each with one of its own."""


class Finish(NamedTuple):
    """The relay has to stop claiming, finish what is in flight within so many seconds, and end."""

    seconds: float


class Goodbye(NamedTuple):
    """The relay ends by its own decision. An exit code cannot say so: a handler may end the process with any code.

    `needs_replacement`: handlers are stuck in it, or it has run out of the resource `exhausted`. In the second case a change in
    flight may be the cause, so the relay has released none.
    """

    needs_replacement: bool
    exhausted: str | None = None


class MalformedMessage(Exception):
    """The bytes received are not one of the records above."""


_KINDS = (Hello, Begin, CommandRequest, CommandResult, Wake, TargetTestRequest, TargetTestReply, Ping, Finish, Goodbye)


def pack(message: Any) -> bytes:
    """Return a record as bytes."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


class RelayUnpacker:
    """Unpacks records from the pieces in which they arrive."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, piece: bytes) -> list[Any]:
        """Add a piece and return the records that are complete. Raises MalformedMessage."""
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
