"""A target for changes: a raw HTTP server on loopback that can also answer badly."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from receiver.clock import now, to_micros
from tests.harness.service import DEADLINE_SECONDS


class Call(NamedTuple):
    """One request. `at` is when it was read, in microseconds; `connection` counts the connections, from 1."""

    at: int
    connection: int
    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"

    @property
    def change(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.body)["data"]
        return data


class Wire(NamedTuple):
    """What an answer is written to; `closing` is set when the test is over."""

    socket: socket.socket
    closing: threading.Event

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)


Answer = Callable[[Call, Wire], bool]
"""Writes an answer; returns whether the connection goes on."""


def say(status: int, *lines: str, body: bytes = b"fine") -> Answer:
    """Answer as decent servers do."""

    def answer(call: Call, wire: Wire) -> bool:
        head = [f"HTTP/1.1 {status} Said", *lines, f"Content-Length: {len(body)}", "", ""]
        wire.send("\r\n".join(head).encode() + (b"" if call.method == "HEAD" else body))
        return True

    return answer


def write(data: bytes, *, goes_on: bool = False) -> Answer:
    """Write these bytes and close, or say nothing more until the other side closes or the test is over."""

    def answer(_call: Call, wire: Wire) -> bool:
        wire.send(data)
        while goes_on and not wire.closing.is_set():
            try:
                goes_on_there = wire.socket.recv(65536)
            except TimeoutError:
                continue
            if not goes_on_there:
                break
        return False

    return answer


def drip(data: bytes) -> Answer:
    """Write this, and then a letter every now and then, for ever."""

    def answer(_call: Call, wire: Wire) -> bool:
        wire.send(data)
        while not wire.closing.wait(0.02):
            wire.send(b"x")
        return False

    return answer


HANG = write(b"", goes_on=True)
CLOSE = write(b"")
TAKE = say(200)


class Endpoint:
    """Gives the answers in order and repeats the last one; `choose` instead picks one for each request."""

    def __init__(self, *answers: Answer, choose: Callable[[Call], Answer] | None, tls: ssl.SSLContext | None) -> None:
        self.calls: list[Call] = []
        self.names: list[str | None] = []
        self.ended = 0
        self._answers = list(answers or (TAKE,))
        self._choose = choose
        self._tls = tls
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}/told"

    @property
    def connections(self) -> int:
        """How many connections came, also such without a request."""
        return len(self._threads) - 1

    @property
    def changes(self) -> list[dict[str, Any]]:
        return [call.change for call in self.calls]

    def moves(self, tracker_id: str) -> list[int]:
        """Return the places of a tracker's changes in the order in which they came."""
        return [change["sequence"] for change in self.changes if change["tracker_id"] == tracker_id]

    def close(self) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection, len(self._threads)))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(0.02)
            wrapped = connection
            if self._tls is not None:
                connection.settimeout(DEADLINE_SECONDS)
                wrapped = self._tls.wrap_socket(connection, server_side=True)
                wrapped.settimeout(0.02)
            with wrapped:
                while (call := self._read(wrapped, number)) is not None and self._answer(call, wrapped):
                    pass
        self.ended += 1

    def _answer(self, call: Call, connection: socket.socket) -> bool:
        self.calls.append(call)
        if self._choose is not None:
            answer = self._choose(call)
        else:
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer(call, Wire(connection, self._closing))

    def _read(self, connection: socket.socket, number: int) -> Call | None:
        data = b""
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            if end:
                lines = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
                method, path, _ = lines[0].split(" ")
                is_chunked = "transfer-encoding" in headers
                if body.endswith(b"0\r\n\r\n") if is_chunked else len(body) >= int(headers.get("content-length", "0")):
                    return Call(to_micros(now()), number, path, headers, body, method)
            try:
                piece = connection.recv(65536)
            except TimeoutError:
                if self._closing.is_set():
                    return None
                continue
            if not piece:
                return None
            data += piece


@contextmanager
def answering(
    *answers: Answer, choose: Callable[[Call], Answer] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Endpoint]:
    """Give an endpoint that answers until the block ends."""
    endpoint = Endpoint(*answers, choose=choose, tls=tls)
    try:
        yield endpoint
    finally:
        endpoint.close()
