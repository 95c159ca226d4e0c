"""Request bodies, read within two limits: the size of one body, and the memory of all together."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from receiver.errors import BodyIncomplete, BodyTooLarge, Busy

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class MemoryBudget:
    """The memory for the bodies in this process, those being read and those waiting to be stored."""

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes

    def reserve(self, size: int) -> None:
        """Reserve `size` bytes. Raises Busy if they are not free."""
        if size > self._left:
            raise Busy("Too many requests are being stored. Send it again later.")
        self._left -= size

    def release(self, size: int) -> None:
        """Release `size` bytes."""
        self._left += size


class BodyReader:
    """Reads bodies within the limits. The protocol bounds the time: it closes the connection (`web/protocol.py`)."""

    def __init__(self, max_bytes: int, memory: MemoryBudget) -> None:
        self._max_bytes = max_bytes
        self._memory = memory

    async def read(self, receive: Receive, declared: bytes | None) -> bytes:
        """Return the whole body. Its size stays reserved until the caller releases it.

        Raises BodyTooLarge as soon as the declared or the counted size exceeds the limit (no more is read), BodyIncomplete or
        Busy; then nothing stays reserved.
        """
        if declared is not None and (not declared.isdigit() or len(declared) > 19 or int(declared) > self._max_bytes):
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise BodyIncomplete("The client disconnected (or timed out) before sending the whole body.")
                chunk = message.get("body", b"")
                if size + len(chunk) > self._max_bytes:
                    raise self._too_large()
                self._memory.reserve(len(chunk))
                size += len(chunk)
                chunks.append(chunk)
                if not message.get("more_body"):
                    return b"".join(chunks)
        except BaseException:
            self._memory.release(size)
            raise

    def release(self, body: bytes) -> None:
        """Release the memory that `read` reserved."""
        self._memory.release(len(body))

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"Expected a body of at most {self._max_bytes} bytes, with a correct Content-Length or in chunks.")
