"""Connections to one HTTP server: kept while it keeps them, led only where they may lead, ended from outside when time is up."""

import socket
import ssl
from collections import deque
from contextlib import suppress
from threading import Lock
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection

from receiver.relay.destinations import Resolve, connect


class OpenConnection:
    """The wire under a connection: can be cut by another thread, whatever the one that uses it waits for."""

    def __init__(self, seconds: float, *, allow_private: bool, resolve: Resolve) -> None:
        self._seconds = seconds
        self._allow_private = allow_private
        self._resolve = resolve
        self._lock = Lock()
        self._handle: socket.socket | None = None
        self._is_cut = False

    def open(self, host: str, port: int) -> socket.socket:
        """Return a connected socket. Raises NotAllowed or OSError."""
        wire = connect(host, port, self._seconds, allow_private=self._allow_private, resolve=self._resolve)
        with self._lock:
            self._handle = wire.dup()  # TLS takes the socket itself away
        if self._is_cut:
            self.cut()
        return wire

    def cut(self) -> None:
        """End all waiting on it."""
        with self._lock:
            self._is_cut = True
            if self._handle is not None:
                with suppress(OSError):  # the other side was first
                    self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()


class PlainConnection(HTTPConnection):
    """A connection over a Line."""

    line: OpenConnection

    def _new_conn(self) -> socket.socket:
        return self.line.open(self.host, self.port)

    def close(self) -> None:
        """Close the connection and its line."""
        super().close()
        self.line.close()


class SecureConnection(HTTPSConnection):
    """The same with TLS; the certificate is checked against the name, not against the address."""

    line: OpenConnection

    def _new_conn(self) -> socket.socket:
        return self.line.open(self.host, self.port)

    def close(self) -> None:
        """Close the connection and its line."""
        super().close()
        self.line.close()


Connection = PlainConnection | SecureConnection


class Connections:
    """Those to one server that are not in use, for any thread. `seconds` bounds each silence."""

    def __init__(self, url: str, seconds: float, *, allow_private: bool, resolve: Resolve = socket.getaddrinfo) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._seconds = seconds
        self._allow_private = allow_private
        self._resolve = resolve
        self._idle: deque[Connection] = deque()

    def take(self) -> Connection | None:
        """Return a connection that was used before and is still there, None if there is none."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if connection.is_connected:
                return connection
            connection.close()
        return None

    def make(self) -> Connection:
        """Return a new connection; it connects when it is used."""
        connection: Connection
        if self._tls is None:
            connection = PlainConnection(self._host, self._port, timeout=self._seconds)
        else:
            connection = SecureConnection(self._host, self._port, timeout=self._seconds, ssl_context=self._tls)
        connection.line = OpenConnection(self._seconds, allow_private=self._allow_private, resolve=self._resolve)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next call."""
        self._idle.append(connection)

    def close(self) -> None:
        """Let go of all that are not in use."""
        while self._idle:
            self._idle.pop().close()
