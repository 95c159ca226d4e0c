"""A client that still writes while its request is rejected sees the answer, not a reset."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from receiver.web.closing import MAX_BYTES, MAX_SECONDS, LingeringTransport
from tests.harness.raw_http import head_of, read_all
from tests.harness.service import SHIP24, TOKEN, Service, serving
from tests.harness.table import each_row

OPS = "the-ops-token-of-these-tests"
_LARGE = 6 * 2**20  # more than the buffers of both sides


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("closing")
    with serving(folder, f"sqlite:///{folder}/closing.db", ops_tokens=OPS) as service:
        yield service


def write_all_then_read(service: Service, sent: bytes) -> tuple[int, Any]:
    """Send everything before reading a byte; return the status and JSON of the answer."""
    with service.socket() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def declared(*lines: str, path: str = SHIP24, token: str = TOKEN) -> bytes:
    return head_of("POST", f"Content-Length: {_LARGE}", *lines, path=path, token=token) + b" " * _LARGE


def chunked(path: str = SHIP24, token: str = TOKEN) -> bytes:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    head = head_of("POST", "Transfer-Encoding: chunked", path=path, token=token)
    return head + chunk * (_LARGE // 65536) + b"0\r\n\r\n"


_REFUSED = {
    "declared too large": (declared(), 413),
    "too large in chunks": (chunked(), 413),
    "an order that is too large": (declared(path="/ops/api/forget", token=OPS), 413),
    "a head that is too large": (head_of("POST", f"X: {'x' * _LARGE}"), 431),
    "a stranger": (declared(token="wrong"), 401),
    "a stranger in chunks": (chunked(token="wrong"), 401),
    "a stranger who closes": (declared("Connection: close", token="wrong"), 401),
    "a path that is none": (declared("Connection: close", path="/else"), 404),
    "wrong framing": (head_of("POST", "Content-Length: 1", "Content-Length: 2") + b" " * _LARGE, 400),
    "a wrong chunk": (head_of("POST", "Transfer-Encoding: chunked") + b"zz\r\n" + b" " * _LARGE, 400),
}


@each_row(("sent", "status"), _REFUSED.values(), ids=_REFUSED.keys())
def test_who_writes_everything_before_reading_sees_the_answer(running: Service, sent: bytes, status: int) -> None:
    found, answer = write_all_then_read(running, sent)
    assert found == status
    assert answer["error"]["code"]


def test_a_client_cannot_write_for_ever(running: Service) -> None:
    with running.socket() as connection:
        connection.sendall(head_of("POST", f"Content-Length: {2**40}"))
        with pytest.raises(ConnectionError):
            connection.sendall(b" " * (2 * MAX_BYTES))


class _Connection(asyncio.Transport):
    """A transport and its loop that record the calls of their methods."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def is_closing(self) -> bool:
        return bool({"close", "abort"} & set(self.told))

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")

    def write(self, _data: Any) -> None:
        self.told.append("write")

    def write_eof(self) -> None:
        self.told.append("write_eof")

    def pause_reading(self) -> None:
        self.told.append("pause_reading")

    def resume_reading(self) -> None:
        self.told.append("resume_reading")

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.timers.append((seconds, callback))


def lingering(*, has_input: bool = True) -> tuple[LingeringTransport, _Connection]:
    connection = _Connection()
    transport = LingeringTransport(connection, connection)  # type: ignore[arg-type]
    transport.has_input = has_input
    transport.close()
    return transport, connection


def test_a_connection_whose_request_was_read_is_closed_at_once() -> None:
    _, connection = lingering(has_input=False)
    assert (connection.told, connection.timers) == (["close"], [])


def test_a_peer_that_never_closes_is_waited_for_in_bounded_time() -> None:
    transport, connection = lingering()
    transport.close()  # again, as the server does when it stops
    assert connection.told == ["write_eof", "resume_reading"]
    ((seconds, when_over),) = connection.timers
    assert seconds == MAX_SECONDS
    when_over()
    assert connection.told[-1] == "abort"


def test_input_is_thrown_away_up_to_the_limit() -> None:
    transport, connection = lingering()
    transport.discard(b" " * MAX_BYTES)
    assert not connection.is_closing()
    transport.discard(b" ")
    assert connection.told[-1] == "abort"


def test_between_two_pieces_that_are_thrown_away_the_event_loop_does_other_things() -> None:
    transport, connection = lingering()
    transport.discard(b" ")
    assert connection.told[-1] == "pause_reading"
    _, read_on = connection.timers[-1]
    read_on()
    assert connection.told[-1] == "resume_reading"


def test_nothing_is_sent_after_our_side_is_closed() -> None:
    transport, connection = lingering()
    transport.write(b"more")
    assert transport.is_closing()
    assert "write" not in connection.told
