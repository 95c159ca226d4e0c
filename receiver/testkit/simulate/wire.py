"""One call over HTTP, bounded in time and size whatever the other side does. Redirects are not followed."""

import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from http.client import HTTPException
from threading import Event, Lock, Thread
from time import monotonic
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError
from urllib3.response import BaseHTTPResponse

MAX_ANSWER_BYTES = 1 << 20
"""Of an answer more is not read; then its status is all that is known."""

_PIECE_BYTES = 65_536
_WATCH_SECONDS = 0.1
_FAULTS = (OSError, HTTPException, HTTPError, ValueError)

Problem = Literal["timeout", "connection", "certificate"]


class WireReply(NamedTuple):
    """What came of a call. `body` is None if it is not whole; `repeated`: it was made twice, as a kept connection had ended."""

    status: int | None
    body: bytes | None = None
    problem: Problem | None = None
    repeated: bool = False


class _Plain(HTTPConnection):
    """A connection whose socket has a second handle, by which another thread can end it."""

    handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        self.handle = made.dup()
        return made


class _Secure(HTTPSConnection):
    """The same with TLS, which takes the socket itself away."""

    handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        self.handle = made.dup()
        return made


class Wire:
    """A connection to one server, kept as long as it keeps it. One thread calls; another one may cut."""

    def __init__(self, url: str, timeout_seconds: float, source: str | None, trust: ssl.SSLContext | None) -> None:
        self._parts: SplitResult = urlsplit(url)
        self._timeout_seconds = timeout_seconds
        self._source = source
        self._trust = trust
        self._connection: _Plain | _Secure | None = None
        self._lock = Lock()
        self._deadline: float | None = None
        self._is_cut = False

    def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> WireReply:
        """Make a call. A kept connection that has ended meanwhile is no fault of the receiver: then it is made on a new one."""
        kept = self._connection is not None and self._connection.is_connected
        if not kept:
            self.close()
        reply = self._try(method, path, headers, body)
        if kept and reply.problem == "connection":
            return self._try(method, path, headers, body)._replace(repeated=True)
        return reply

    def cut_if_late(self, now: float) -> None:
        """End a call whose time is up; the thread that made it is told so."""
        with self._lock:
            if self._deadline is not None and now >= self._deadline:
                self._cut()

    def end(self) -> None:
        """End the call that is under way, if there is one: then the thread that made it lets go of the connection."""
        with self._lock:
            is_used = self._deadline is not None
            if is_used:
                self._cut()
        if not is_used:
            self.close()

    def _cut(self) -> None:
        self._is_cut = True
        handle = self._connection.handle if self._connection is not None else None
        if handle is not None:
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            if connection.handle is not None:
                connection.handle.close()

    def _try(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> WireReply:
        with self._lock:
            self._deadline, self._is_cut = monotonic() + self._timeout_seconds, False
            connection = self._connection = self._connection or self._make()
        problem: Problem | None = None
        try:
            connection.request(method, path, body, headers, preload_content=False, decode_content=False)
            response = connection.getresponse()
            reply = WireReply(response.status, _read(response))
        except _FAULTS as error:
            problem = _name_problem(error)
        with self._lock:
            self._deadline = None
            problem = "timeout" if self._is_cut else problem
        if problem is not None:
            self.close()
            return WireReply(None, None, problem)
        if reply.body is None:
            self.close()
        return reply

    def _make(self) -> _Plain | _Secure:
        source = (self._source, 0) if self._source else None
        host, port, seconds = self._parts.hostname or "", self._parts.port, self._timeout_seconds
        if self._parts.scheme == "https":
            return _Secure(host, port, timeout=seconds, source_address=source, ssl_context=self._trust)
        return _Plain(host, port, timeout=seconds, source_address=source)


class WirePool:
    """Makes wires; a thread ends their calls whose time is up."""

    def __init__(self) -> None:
        self._wires: list[Wire] = []
        self._ended = Event()
        self._thread = Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def wire(self, url: str, timeout_seconds: float, source: str | None = None) -> Wire:
        """Return a new wire to a URL's host, from an address of this machine if one is given."""
        wire = Wire(url, timeout_seconds, source, self._trust if urlsplit(url).scheme == "https" else None)
        self._wires.append(wire)
        return wire

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """What all wires trust: read once, as it takes longer than a call, and that would count as the receiver's."""
        return ssl.create_default_context()

    def close(self) -> None:
        """End, and end all that is under way."""
        self._ended.set()
        self._thread.join()
        for wire in tuple(self._wires):
            wire.end()

    def _run(self) -> None:
        while not self._ended.wait(_WATCH_SECONDS):
            for wire in tuple(self._wires):
                wire.cut_if_late(monotonic())


def _read(response: BaseHTTPResponse) -> bytes | None:
    """Return the body; None if it is too long."""
    pieces, size = [], 0
    while piece := response.read(_PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            return None
    return b"".join(pieces)


def _name_problem(error: Exception) -> Problem:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate"
    refused = isinstance(error, NewConnectionError)  # which the library takes for a kind of timeout
    return "timeout" if isinstance(error, TimeoutError | HTTPTimeoutError) and not refused else "connection"
