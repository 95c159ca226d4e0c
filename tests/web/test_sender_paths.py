"""Answers on the paths of senders: the same whether a request goes straight to its endpoint or through the router."""

import re
import socket
from collections.abc import Iterator

import pytest

from tests.harness import ship24
from tests.harness.raw_http import head_of, read_all, request
from tests.harness.service import SHIP24, Service, serving
from tests.harness.table import each_row

_VARYING = re.compile(rb"(?mi)^date: .*$|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_CLOSE = "Connection: close"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("small")
    with serving(folder, f"sqlite:///{folder}/small.db", max_body_bytes="65536") as service:
        yield service


def ask(service: Service, sent: bytes) -> bytes:
    """Return all answers to these bytes, without what differs from one delivery to the next."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(sent)
        return _VARYING.sub(b"", read_all(connection))


BODY = b'{"trackings":[]}'


@each_row(
    "name,straight",
    {
        "a delivery": request(BODY, _CLOSE),
        "two on one connection": request(BODY) + request(BODY, _CLOSE),
        "HTTP/1.0": request(BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
        "status 100 is asked for": request(BODY, _CLOSE, "Expect: 100-continue"),
        "in chunks": head_of("POST", _CLOSE, "Transfer-Encoding: chunked") + b"10\r\n" + BODY + b"\r\n0\r\n\r\n",
        "HEAD": head_of("HEAD", _CLOSE),
        "another method": head_of("GET", _CLOSE),
        "no token": request(BODY, _CLOSE, token="wrong"),
        "no JSON": request(b"nothing", _CLOSE),
        "another shape": request(b"[]", _CLOSE),
        "an unknown coding": request(BODY, _CLOSE, "Content-Encoding: odd"),
        "too large": request(bytes(70_000), _CLOSE),
        "a probe that is none": request(BODY, _CLOSE, "X-Receiver-Test: odd"),
    }.items(),
)
def test_an_answer_is_the_same_straight_and_through_the_router(small: Service, name: str, straight: bytes) -> None:
    answer = ask(small, straight)
    assert answer.startswith(b"HTTP/1.1 ")
    assert b"x-content-type-options: nosniff" in answer
    assert answer == ask(small, straight.replace(SHIP24.encode(), SHIP24.encode() + b"/")), name


def test_a_delivery_with_messages_is_answered_straight(small: Service) -> None:
    assert b'"received":1' in ask(small, request(ship24.single("straight-1"), _CLOSE))
