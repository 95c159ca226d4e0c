"""Framing of requests: bounded heads, ignored offers to upgrade, and JSON answers to malformed requests."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from receiver.domain.records import Answer
from receiver.web.parsing import ParsingQueue
from receiver.web.protocol import MAX_HEAD_BYTES, BoundedProtocol
from receiver.web.responses import send_answer
from tests.harness import ship24
from tests.harness.raw_http import head_of, read_all, read_until, request
from tests.harness.rows import delivery_row
from tests.harness.service import SHIP24, TOKEN, Service, serving, wait_until
from tests.harness.table import each_row

_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
_CLOSING_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
_H2C = Path(__file__).parents[1] / "payloads" / "http" / "upgrade_h2c_with_content_length.http"
_OFFERS = {
    "h2c": ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAA"],
    "websocket": ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA"],
    "keep-alive and several": ["Connection: keep-alive, Upgrade", "Upgrade: TLS/1.0, HTTP/2.0"],
}


@pytest.fixture(scope="module")
def framed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("framed")
    with serving(folder, f"sqlite:///{folder}/framed.db", body_timeout_seconds="5") as service:
        yield service


def parse(answers: bytes) -> list[tuple[int, Any]]:
    """Return status and JSON of each answer; all of them have a length."""
    found = []
    while answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        length = int(headers.get("content-length", "0"))
        if length:
            assert headers["content-type"] == "application/json"
        found.append((int(lines[0].split()[1]), json.loads(rest[:length]) if length else None))
        answers = rest[length:]
    return found


def exchange(service: Service, *pieces: bytes, shut: bool = False) -> list[tuple[int, Any]]:
    """Send pieces in packets of their own, and return all answers until the service closes the connection."""
    with service.socket() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):  # the service may have closed it before the last piece
            for piece in pieces:
                connection.sendall(piece)
                service.get("/healthz")  # it has read the piece before
            if shut:
                connection.shutdown(socket.SHUT_WR)
        return parse(read_all(connection))


def codes(answers: list[tuple[int, Any]]) -> list[tuple[int, str | None]]:
    return [(status, body.get("error", {}).get("code") if body else None) for status, body in answers]


# The size of a head


def head_of_size(size: int) -> bytes:
    """Return a head of exactly so many bytes that asks for health and closes."""
    start = b"GET /healthz HTTP/1.1\r\nConnection: close\r\nX: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


def test_a_head_of_exactly_the_limit_is_served(framed: Service) -> None:
    assert codes(exchange(framed, head_of_size(MAX_HEAD_BYTES))) == [(200, None)]
    assert codes(exchange(framed, _HEALTH + head_of_size(MAX_HEAD_BYTES))) == [(200, None), (200, None)]


_TOO_LARGE = {
    "one byte more": [head_of_size(MAX_HEAD_BYTES + 1)],
    "one byte more, behind another request": [_HEALTH + head_of_size(MAX_HEAD_BYTES + 1)],
    "one byte more, after another request": [_HEALTH, head_of_size(MAX_HEAD_BYTES + 1)],
    "a URL that never ends": [b"GET /" + b"a" * 100_000],
    "a query that never ends": [b"GET /healthz?" + b"a" * 50_000],
    "a header that never ends": [b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000],
    "a name that never ends": [b"GET / HTTP/1.1\r\n" + b"x" * 100_000],
    "headers that never end": [b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000],
    "headers in pieces": [b"GET / HTTP/1.1\r\n", *[b"a: b\r\n" * 2000] * 4],
    "spaces in front of a value": [b"GET / HTTP/1.1\r\nX:" + b" " * 100_000],
}


@each_row("pieces", _TOO_LARGE.values(), ids=_TOO_LARGE.keys())
def test_a_head_over_the_limit_is_431_and_the_connection_is_closed(framed: Service, pieces: list[bytes]) -> None:
    *before, last = codes(exchange(framed, *pieces))
    assert (before, last) == ([(200, None)] * (b"".join(pieces).count(_HEALTH)), (431, "headers_too_large"))


@each_row("end", [b"0\r\n" + b"X: y\r\n" * 10_000, b"0\r\nX: " + b"y" * 50_000, b"1;" + b"x" * 50_000])
def test_trailers_and_extensions_of_chunks_are_bounded_too(framed: Service, end: bytes) -> None:
    body = b"2\r\n{}\r\n" + end
    assert codes(exchange(framed, head_of("POST", "Transfer-Encoding: chunked") + body)) == [(431, "headers_too_large")]


def test_empty_lines_that_never_end_are_bounded_too(framed: Service) -> None:
    assert codes(exchange(framed, b"\r\n" * 20_000)) == [(431, "headers_too_large")]
    assert codes(exchange(framed, _HEALTH, b"\r\n" * 20_000)) == [(200, None), (431, "headers_too_large")]


def test_a_head_over_the_limit_is_on_record_without_what_is_secret(framed: Service) -> None:
    answers = exchange(framed, head_of("POST", "X-Mark: this-one", f"X: {'x' * 40_000}"))
    assert codes(answers) == [(431, "headers_too_large")]
    id_ = answers[0][1]["delivery_id"]
    row = delivery_row(framed.database_url, id_)
    assert (row["path"], row["status"], row["outcome"], row["body_bytes"]) == (SHIP24, 431, "refused", 0)
    assert "this-one" in row["headers"]
    assert TOKEN not in str(dict(row))


def test_a_trailer_is_no_header(framed: Service) -> None:
    body = ship24.single()
    chunks = b"%x\r\n%s\r\n0\r\nAuthorization: Bearer %s\r\n\r\n" % (len(body), body, TOKEN.encode())
    head = f"POST {SHIP24} HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
    assert codes(exchange(framed, head + chunks)) == [(401, "unauthorized")]


async def count_ahead(requests: int) -> tuple[int, int]:
    """Return how many requests are parsed ahead while the first one is not answered, and how many answers come in the end."""
    began, may_answer = asyncio.Event(), asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        began.set()
        await may_answer.wait()
        await send_answer(send, Answer(200, b"{}"))

    config = uvicorn.Config(app, log_config=None)
    config.load()
    protocol = type("Protocol", (BoundedProtocol,), {"request_timeout_seconds": 60, "parsing": ParsingQueue()})(
        config, ServerState(), {}
    )
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: protocol, ours)
    with theirs:
        theirs.setblocking(False)
        sending = asyncio.create_task(loop.sock_sendall(theirs, _HEALTH * (requests - 1) + _CLOSING_HEALTH))
        await began.wait()
        ahead = len(protocol.pipeline)
        may_answer.set()
        answers = b""
        while piece := await loop.sock_recv(theirs, 65536):
            answers += piece
        await sending
    return ahead, answers.count(b"HTTP/1.1 200 OK")


def test_requests_sent_ahead_wait_unparsed_until_those_before_them_are_answered() -> None:
    ahead, answered = asyncio.run(count_ahead(20_000))
    assert answered == 20_000
    assert ahead < 100


# Offers to upgrade


def framings(body: bytes, *lines: str) -> dict[str, list[bytes]]:
    """Return a request with these header lines in every framing, in pieces."""
    whole = request(body, *lines)
    edge = len(whole) - len(body)
    chunked = head_of("POST", "Transfer-Encoding: chunked", *lines)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    return {
        "length, at once": [whole],
        "length, head first": [whole[:edge], body],
        "length, cut in the head and in the body": [whole[:30], whole[30 : edge + 5], whole[edge + 5 :]],
        "chunked, at once": [chunked + chunks],
        "chunked, cut in a chunk": [chunked, chunks[:12], chunks[12:-3], chunks[-3:]],
    }


@each_row("framing", framings(b"0123456789").keys())
@each_row("offer", _OFFERS)
def test_an_offer_to_upgrade_is_ignored_and_what_follows_is_answered(framed: Service, offer: str, framing: str) -> None:
    ids = [f"{offer}-{framing}-{number}" for number in range(3)]
    first, second, third = (framings(ship24.single(id_), *_OFFERS[offer])[framing] for id_ in ids)
    pieces = [*first[:-1], first[-1] + second[0], *second[1:], *third, _CLOSING_HEALTH]
    answers = exchange(framed, *pieces)
    assert codes(answers) == [(200, None)] * 4
    assert [body["messages"][0] for _, body in answers[:3]] == [{"message_id": id_, "outcome": "applied"} for id_ in ids]


@each_row("method", ["GET", "POST"])
def test_an_offer_with_a_request_without_a_body_is_ignored_too(framed: Service, method: str) -> None:
    lines = "".join(f"{line}\r\n" for line in _OFFERS["h2c"])
    ask = f"{method} /healthz HTTP/1.1\r\n{lines}\r\n".encode()
    status = 200 if method == "GET" else 405
    assert [found for found, _ in exchange(framed, ask + ask, ask, _CLOSING_HEALTH)] == [status] * 3 + [200]


def test_an_offer_to_upgrade_stays_on_record_with_its_headers(framed: Service) -> None:
    whole = request(ship24.single("on-record"), *_OFFERS["h2c"], "Connection: close")
    (answer,) = exchange(framed, whole)
    headers = framed.value("bodies", "headers", delivery_id=answer[1]["delivery_id"])
    assert '["upgrade","h2c"]' in headers


def test_an_offer_as_javas_client_sends_it_is_served_at_once_and_in_pieces(framed: Service) -> None:
    offer = _H2C.read_bytes().replace(b"TOKEN", TOKEN.encode())
    edges = [0, *range(1, 400, 37), len(offer)]
    pieces = [offer[start:end] for start, end in pairwise(edges)]
    assert codes(exchange(framed, offer + _CLOSING_HEALTH)) == [(200, None)] * 2
    answers = exchange(framed, *pieces, _CLOSING_HEALTH)
    assert codes(answers) == [(200, None)] * 2
    assert answers[0][1]["messages"] == [{"message_id": "offers-h2c", "outcome": "duplicate"}]


# What is framed wrongly


_WRONG = {
    "both lengths": request(b"{}", "Transfer-Encoding: chunked"),
    "two lengths": request(b"{}", "Content-Length: 2"),
    "two lengths that differ": request(b"{}", "Content-Length: 3"),
    "a negative length": head_of("POST", "Content-Length: -1"),
    "no number": head_of("POST", "Content-Length: 2x") + b"{}",
    "another transfer coding": head_of("POST", "Transfer-Encoding: gzip, chunked") + b"2\r\n{}\r\n0\r\n\r\n",
    "chunked that is not last": head_of("POST", "Transfer-Encoding: chunked, gzip") + b"2\r\n{}\r\n0\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\x12\x04\0\0\0\0\0",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
    "no method": b"BREW / HTTP/1.1\r\n\r\n",
    "lines without a carriage return": b"GET / HTTP/1.1\nHost: here\n\n",
    "a space before a colon": b"GET / HTTP/1.1\r\nHost : here\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: here\r\n there\r\n\r\n",
    "a target that is no path": b"GET healthz HTTP/1.1\r\n\r\n",
    "a URL without a path": b"GET http://here HTTP/1.1\r\n\r\n",
    "a target beyond ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
    "a tunnel": b"CONNECT there:443 HTTP/1.1\r\nHost: there\r\n\r\n",
    "NUL": b"\0" * 100,
}


@each_row("sent", _WRONG.values(), ids=_WRONG.keys())
def test_what_is_framed_wrongly_is_400_in_json_and_the_connection_is_closed(framed: Service, sent: bytes) -> None:
    assert codes(exchange(framed, sent)) == [(400, "bad_request")]
    assert codes(exchange(framed, _HEALTH + sent)) == [(200, None), (400, "bad_request")]
    assert "Traceback" not in framed.logs()


@each_row("rest", [b"zz\r\n{}\r\n", b"2\r\n{}xx0\r\n\r\n", b"-1\r\n", b"fffffffffffffffff\r\n"])
def test_a_bad_chunk_is_400_and_on_record(framed: Service, rest: bytes) -> None:
    before = framed.count("deliveries", code="body_incomplete")
    assert codes(exchange(framed, head_of("POST", "Transfer-Encoding: chunked"), rest)) == [(400, "body_incomplete")]
    wait_until(lambda: framed.count("deliveries", code="body_incomplete") == before + 1, "it is on record")


def test_a_wrong_request_behind_a_right_one_takes_nothing_from_it(framed: Service) -> None:
    for number, wrong in enumerate((b"\0\0\0\0\r\n\r\n", head_of("POST", "Transfer-Encoding: chunked") + b"zz\r\n")):
        answers = exchange(framed, request(ship24.single(f"before-{number}")) + wrong)
        assert [status for status, _ in answers] == [200, 400]
        assert answers[0][1]["applied"] == 1


def test_the_whole_url_of_a_path_leads_to_it(framed: Service) -> None:
    whole = request(ship24.single(), "Connection: close", path=f"http://elsewhere{SHIP24}?x=1")
    assert codes(exchange(framed, whole)) == [(200, None)]


def test_http_1_0_is_answered_and_closed(framed: Service) -> None:
    whole = request(ship24.single()).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    assert codes(exchange(framed, whole)) == [(200, None)]


def test_who_waits_for_100_continue_gets_it_when_the_body_is_wanted(framed: Service) -> None:
    body = ship24.single()
    head = request(body, "Expect: 100-continue", "Connection: close")[: -len(body)]
    with framed.socket() as connection:
        connection.sendall(head)
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert codes(parse(read_all(connection))) == [(200, None)]


@each_row("rest", [b"", b"GET / HT", head_of("POST", "Content-Length: 10") + b"{"])
def test_who_sends_no_more_gets_the_answers_to_what_was_sent(framed: Service, rest: bytes) -> None:
    """It has closed its side of the connection only (RFC 9293, 3.6)."""
    first, second = request(ship24.single()), request(ship24.single())
    with framed.held_up(), framed.socket() as connection:
        connection.sendall(first + second + rest)
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: _is_half_closed(framed, connection), "the service knows that nothing more comes")
        framed.writer().resume()
        answers = read_all(connection)
    assert codes(parse(answers)) == [(200, None)] * 2


def _is_half_closed(service: Service, connection: socket.socket) -> bool:
    """Tell whether the service still has the connection whose other side is closed."""
    assert service.process is not None
    port = connection.getsockname()[1]
    states = [c.status for c in psutil.Process(service.process.pid).net_connections("tcp") if c.raddr and c.raddr.port == port]
    return states == [psutil.CONN_CLOSE_WAIT]


@each_row("sent", [b"", b"GET / HT", head_of("POST", "Content-Length: 10") + b"{", _HEALTH])
def test_a_silent_connection_is_closed(framed: Service, sent: bytes) -> None:
    assert codes(exchange(framed, sent, shut=True)) == ([(200, None)] if sent == _HEALTH else [])


def test_a_sender_of_http_1_0_gets_no_100_continue(framed: Service) -> None:
    """It would take it for the answer (RFC 9110, 10.1.1)."""
    whole = request(ship24.single(), "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    assert codes(exchange(framed, whole)) == [(200, None)]


def test_a_rejected_request_that_waits_for_100_continue_is_answered_with_a_close(framed: Service) -> None:
    """It may send the body or not, so the beginning of the next request is unknown (RFC 9110, 10.1.1)."""
    with framed.socket() as connection:
        connection.sendall(head_of("POST", "Content-Length: 10", "Expect: 100-continue", token="wrong"))
        answer = read_all(connection)
    assert codes(parse(answer)) == [(401, "unauthorized")]
    assert b"\r\nconnection: close\r\n" in answer
