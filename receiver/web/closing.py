"""The close of a connection whose peer still writes (RFC 9112, 9.6).

If a socket is closed with unread input, the system sends a reset, and the peer loses our answer before it has read it. So our
side closes first, and input is discarded for a bounded time and up to a bounded size.
"""

import asyncio
from typing import Any

MAX_BYTES = 32 * 2**20
MAX_SECONDS = 5.0
_PAUSE_SECONDS = 0.01  # between two reads of discarded input: they must not keep the event loop busy


class LingeringTransport(asyncio.Transport):
    """The transport of a connection. `close` waits for the peer while `has_input` is set."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.has_input = False
        self.is_lingering = False
        self._transport = transport
        self._loop = loop
        self._left = MAX_BYTES
        self._timer: asyncio.TimerHandle | None = None
        self._next_read: asyncio.TimerHandle | None = None

    def write(self, data: Any) -> None:
        """Send bytes unless our side is closed."""
        if not self.is_lingering:
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Return whether nothing more can be sent."""
        return self.is_lingering or self._transport.is_closing()

    def close(self) -> None:
        """Close the connection when everything is sent; if there is unread input, after the peer has closed."""
        if not self.has_input or self._transport.is_closing():
            self._transport.close()
        elif not self.is_lingering:
            self.is_lingering = True
            self._timer = self._loop.call_later(MAX_SECONDS, self._transport.abort)
            self._transport.write_eof()
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def discard(self, data: bytes) -> None:
        """Discard input, up to the limit."""
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()
        else:
            self._transport.pause_reading()
            self._next_read = self._loop.call_later(_PAUSE_SECONDS, self._read_on)

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def cancel_timers(self) -> None:
        """Cancel the timers: the connection is lost."""
        for timer in (self._timer, self._next_read):
            if timer is not None:
                timer.cancel()
