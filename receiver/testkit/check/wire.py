"""One call over HTTP within bounds: seconds for the whole of it, bytes of its answer, whatever the other side does."""

import http.client
import io
import socket
import ssl
import zlib
from contextlib import suppress
from email.errors import MessageError
from time import monotonic
from typing import Any, cast

from receiver.testkit.check.records import Answer, CheckReply, NoReply
from receiver.testkit.check.target import CheckTarget

MAX_BODY_BYTES = 1_000_000
_MAX_BYTES = MAX_BODY_BYTES + 500_000  # with head and framing
_PIECE_BYTES = 65_536
_ANY_CODING = 32 + zlib.MAX_WBITS  # zlib finds out itself whether it is gzip


class _TooLong(OSError):
    """More came than is read."""


_FAULTS: dict[type[Exception], str] = {  # the first that fits
    _TooLong: f"more than {_MAX_BYTES // 1000} kB came, and no end of the answer",
    ConnectionRefusedError: "nobody listens there",
    ConnectionError: "the connection was closed without an answer",
    http.client.IncompleteRead: "the connection was closed within the answer",
    socket.gaierror: "its name leads nowhere",
    UnicodeError: "its name leads nowhere",
    ssl.SSLError: "no agreement on TLS: it may not speak it",
    OSError: "no connection",
    Exception: "what came is not HTTP",
}


class CheckConnection:
    """A connection to a receiver, for one call after the other. Opened by the first."""

    def __init__(self, target: CheckTarget, seconds: float, tls: ssl.SSLContext) -> None:
        self._target = target
        self._seconds = seconds
        self._tls = tls
        self._socket: socket.socket | None = None

    def call(self, method: str, head: bytes, body: bytes) -> Answer:
        """Send a request and return what came, whatever it is."""
        began = monotonic()
        deadline = began + self._seconds
        try:
            connection = self._open(deadline)
        except (OSError, UnicodeError) as error:
            self.close()
            return NoReply(self._explain(error), monotonic() - began, connected=False)
        try:
            sent = _send(connection, head + body, deadline)
            reply = _read(connection, method, deadline)
        except (OSError, http.client.HTTPException, MessageError, ValueError) as error:
            self.close()
            return NoReply(self._explain(error), monotonic() - began)
        if reply.closes or not sent:
            self.close()
        return reply._replace(seconds=monotonic() - began)

    def close(self) -> None:
        """Let go of the connection; who waits for an answer on it is woken."""
        connection, self._socket = self._socket, None
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _open(self, deadline: float) -> socket.socket:
        if self._socket is None:
            address = (self._target.host, self._target.port)
            self._socket = socket.create_connection(address, timeout=_left(deadline))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._target.is_secure:
                self._socket.settimeout(_left(deadline))
                self._socket = self._tls.wrap_socket(self._socket, server_hostname=self._target.host)
        return self._socket

    def _explain(self, error: Exception) -> str:
        """Return what went wrong without anything that the other side said."""
        if isinstance(error, TimeoutError):
            return f"no whole answer within {self._seconds:g} s"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not good ({error.verify_message})"
        return next(text for kind, text in _FAULTS.items() if isinstance(error, kind))


class _Incoming(io.RawIOBase):
    """What comes from a socket, until time or bytes are up."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        super().__init__()
        self._connection = connection
        self._deadline = deadline
        self._left_bytes = _MAX_BYTES

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for bytes, as long as there is time. Raises TimeoutError or _TooLong."""
        if self._left_bytes <= 0:
            raise _TooLong
        self._connection.settimeout(_left(self._deadline))
        size = self._connection.recv_into(memoryview(buffer)[: self._left_bytes])
        self._left_bytes -= size
        return size

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Stand in for the socket, of which the library wants no more than this."""
        return io.BufferedReader(self, _PIECE_BYTES)


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _send(connection: socket.socket, data: bytes, deadline: float) -> bool:
    """Send it all; return whether the other side wanted it all: a refusal may come before the end of a body."""
    rest = memoryview(data)
    try:
        while rest:
            connection.settimeout(_left(deadline))
            rest = rest[connection.send(rest[:_PIECE_BYTES]) :]
    except ConnectionError:
        return False
    return True


def _read(connection: socket.socket, method: str, deadline: float) -> CheckReply:
    """Read an answer. Raises OSError, HTTPException, MessageError or ValueError."""
    response = http.client.HTTPResponse(cast("socket.socket", _Incoming(connection, deadline)), method=method)
    try:
        response.begin()
        announced = response.length
        body = response.read(MAX_BODY_BYTES + 1)
        if announced is not None and len(body) < min(announced, MAX_BODY_BYTES + 1):
            raise http.client.IncompleteRead(b"")
        headers = tuple((name.lower(), value) for name, value in response.getheaders())
        closes = response.will_close or len(body) > MAX_BODY_BYTES
        body = _unpack(body, response)
        return CheckReply(response.status, headers, body, 0.0, len(body) > MAX_BODY_BYTES, closes)
    finally:
        response.close()


def _unpack(body: bytes, response: http.client.HTTPResponse) -> bytes:
    """Return a packed body unpacked, as far as it is looked at; one that cannot be unpacked stays as it is."""
    if (response.getheader("content-encoding") or "").strip().lower() not in {"gzip", "deflate"}:
        return body
    try:
        return zlib.decompressobj(_ANY_CODING).decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        return body
