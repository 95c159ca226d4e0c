"""HTTP requests as raw bytes, for cases that no client would send."""

import socket

from tests.harness.service import SHIP24, TOKEN


def head_of(method: str, *lines: str, path: str = SHIP24, token: str = TOKEN) -> bytes:
    """Return the head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: here", f"Authorization: Bearer {token}", *lines, "", ""]).encode()


def request(body: bytes, *lines: str, method: str = "POST", path: str = SHIP24, token: str = TOKEN) -> bytes:
    """Return a whole request with its length."""
    return head_of(method, f"Content-Length: {len(body)}", *lines, path=path, token=token) + body


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    pieces = []
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)


def read_until(connection: socket.socket, mark: bytes, times: int = 1) -> bytes:
    """Read until `mark` was seen so many times, or the other side closes."""
    data = b""
    while data.count(mark) < times:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return data
