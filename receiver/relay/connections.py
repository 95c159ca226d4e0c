"""Connections to one HTTP server: kept for reuse, to checked addresses only, and cut from another thread after a time-out."""

import socket
import ssl
from collections import deque
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from threading import Lock
from time import monotonic
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection

from receiver.relay.destinations import Resolve, connect

IDLE_SECONDS = 60.0
"""Idle time after which a connection is not used again: a firewall between may have forgotten it and say nothing."""

_MAX_INTERIM = 20  # responses before the final one


class OpenConnection:
    """The socket of a connection. Another thread can shut it down while the thread that uses it waits."""

    def __init__(self, seconds: float, *, allow_private: bool, resolve: Resolve) -> None:
        self._seconds = seconds
        self._allow_private = allow_private
        self._resolve = resolve
        self._lock = Lock()
        self._handle: socket.socket | None = None
        self._is_cut = False

    def open(self, host: str, port: int) -> socket.socket:
        """Return a connected socket. Raises NotAllowed or OSError."""
        opened = connect(host, port, self._seconds, allow_private=self._allow_private, resolve=self._resolve)
        with self._lock:
            self._handle = opened.dup()  # TLS detaches the socket itself
        if self._is_cut:
            self.cut()
        return opened

    def cut(self) -> None:
        """Shut the socket down."""
        with self._lock:
            self._is_cut = True
            if self._handle is not None:
                with suppress(OSError):  # already closed by the server
                    self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()


class FinalResponse(HTTPResponse):
    """The final response to a request: interim ones (RFC 9110, 15.2) are read and dropped. `http.client` drops only 100."""

    def begin(self) -> None:
        """Read the head of the final response. Raises HTTPException after too many interim ones."""
        for _ in range(_MAX_INTERIM):
            super().begin()
            if self.status >= 200 or self.status == HTTPStatus.SWITCHING_PROTOCOLS:
                return
            self.headers = None  # type: ignore[assignment]  # makes `begin` read a further head
        raise HTTPException("too many interim responses")


class Connection(HTTPConnection):
    """A connection over an OpenConnection."""

    response_class = FinalResponse
    transport: OpenConnection

    def _new_conn(self) -> socket.socket:
        return self.transport.open(self.host, self.port)

    def close(self) -> None:
        """Close the connection and its socket."""
        super().close()
        self.transport.close()


class SecureConnection(Connection, HTTPSConnection):
    """The same with TLS. The certificate is checked against the host name, not the address."""


class Connections:
    """The idle connections to one server, for use by any thread. `seconds` bounds each wait for the network."""

    def __init__(
        self,
        url: str,
        seconds: float,
        *,
        allow_private: bool,
        resolve: Resolve = socket.getaddrinfo,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._seconds = seconds
        self._allow_private = allow_private
        self._resolve = resolve
        self._idle_seconds = idle_seconds
        self._idle: deque[tuple[float, Connection]] = deque()

    def take(self) -> Connection | None:
        """Return a connection that was used not long ago and is still open, or None."""
        while self._idle:
            try:
                used_at, connection = self._idle.pop()
            except IndexError:
                break
            if monotonic() - used_at < self._idle_seconds and connection.is_connected:
                return connection
            connection.close()
        return None

    def make(self) -> Connection:
        """Return a new connection, which connects at its first use."""
        connection: Connection
        if self._tls is None:
            connection = Connection(self._host, self._port, timeout=self._seconds)
        else:
            connection = SecureConnection(self._host, self._port, timeout=self._seconds, ssl_context=self._tls)
        connection.transport = OpenConnection(self._seconds, allow_private=self._allow_private, resolve=self._resolve)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        self._idle.append((monotonic(), connection))

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop()[1].close()
