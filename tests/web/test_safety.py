"""Errors on every path: JSON of one form with the security headers of the area; pages remain pages."""

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from receiver.processes.stopping import Stopping
from receiver.settings import load
from receiver.storage.database import Database
from receiver.web.app import create_app
from receiver.web.responses import on_http_exception
from receiver.web.safety import SafeAnswers
from tests.harness.console_client import ConsoleClient
from tests.harness.raw_http import head_of, read_all
from tests.harness.service import SHIP24, TOKEN, Service, serving
from tests.harness.table import each_row

OPS = "the-ops-token-of-these-tests"
_SETTINGS = {"ship24_tokens": TOKEN, "shiipp_tokens": TOKEN, "ops_tokens": OPS, "ship24_ip_policy": "off"}
_TOO_LARGE = b"x" * (16 * 2**20 + 1)  # for every path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("safety")
    with serving(folder, f"sqlite:///{folder}/safety.db", **_SETTINGS) as service:
        yield service


def list_routes() -> list[Route]:
    """Return all routes of the service."""
    variables = {f"RECEIVER_{name.upper()}": value for name, value in _SETTINGS.items()}
    database = Database("sqlite:///never/opened.db")
    channel, other_end = socket.socketpair()
    with channel, other_end:
        app: Any = create_app(load(variables, Path("no.env")), database, channel, lambda: None, Stopping())
    while not isinstance(app, Starlette):
        app = app._app
    return [route for route in app.routes if isinstance(route, Route)]


def paths_of(method: str) -> list[str]:
    """Return the paths that take a method (None of a route: all), with something in the place of each parameter."""
    found = [route.path for route in list_routes() if method in (route.methods or {method})]
    return sorted({re.sub(r"\{[^}]*\}", "ship24", path) for path in found})


def check_security(path: str, headers: dict[str, str]) -> None:
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    if path.startswith("/ops"):
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"


def exchange(service: Service, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are; return status, headers and body of the first answer, which closes the connection."""
    with service.socket() as connection:
        connection.sendall(sent)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


# The size of bodies


def test_every_route_that_takes_a_body_answers_413_in_json_to_one_that_is_too_large(running: Service) -> None:
    operator = ConsoleClient(running)
    operator.sign_in(OPS)
    cookie = "; ".join(f"{name}={value}" for name, value in operator.cookies.items())
    paths = paths_of("POST")
    assert {SHIP24, "/ops/sign-in", "/ops/sign-out", "/ops/api/forget", "/ops/api/customers"} <= set(paths)
    for path in paths:
        token = OPS if path.startswith("/ops") else TOKEN
        lines = (f"Content-Length: {len(_TOO_LARGE)}", f"Cookie: {cookie}", "Connection: close")
        status, headers, body = exchange(running, head_of("POST", *lines, path=path, token=token) + _TOO_LARGE)
        if path == "/shiipp/customers":  # it takes no body
            assert status == 405
            continue
        assert (path, status, headers["content-type"]) == (path, 413, "application/json")
        assert json.loads(body)["error"]["code"] == "body_too_large"
        check_security(path, headers)


# Errors on the wire

_FAULTS = {
    "no token": lambda path: head_of("POST", "Content-Length: 2", "Connection: close", path=path, token="wrong") + b"{}",
    "another method": lambda path: head_of("PUT", "Content-Length: 2", "Connection: close", path=path, token=OPS) + b"{}",
    "not JSON": lambda path: head_of("POST", "Content-Length: 2", "Connection: close", path=path) + b"{x",
    "not JSON, of an operator": lambda path: (
        head_of("POST", "Content-Length: 2", "Connection: close", path=path, token=OPS) + b"{x"
    ),
    "another shape": lambda path: head_of("POST", "Content-Length: 2", "Connection: close", path=path) + b"{}",
    "another shape, of an operator": lambda path: head_of("GET", "Connection: close", path=f"{path}?no=such", token=OPS),
    "another encoding": lambda path: (
        head_of("POST", "Content-Encoding: br", "Content-Length: 2", "Connection: close", path=path) + b"{}"
    ),
    "wrong framing": lambda path: head_of("POST", "Content-Length: 2", "Content-Length: 3", path=path),
    "a wrong chunk": lambda path: head_of("POST", "Transfer-Encoding: chunked", path=path) + b"zz\r\n",
    "a large head": lambda path: head_of("GET", f"X: {'x' * 40_000}", path=path),
    "a path below": lambda path: head_of("GET", "Connection: close", path=f"{path}/no/such", token="wrong"),
    "a path below, of an operator": lambda path: head_of("GET", "Connection: close", path=f"{path}/no/such", token=OPS),
}


@each_row("make", _FAULTS.values(), ids=_FAULTS.keys())
def test_an_error_is_json_with_the_headers_of_its_area_or_a_page(running: Service, make: Any) -> None:
    wrong = {}
    for path in {*paths_of("GET"), *paths_of("POST"), "/", "/no/such"}:
        status, headers, body = exchange(running, make(path))
        if status < 400:
            continue
        check_security(path, headers)
        is_page = path.startswith("/ops") and headers["content-type"].startswith("text/html")
        if not is_page and (headers["content-type"] != "application/json" or not json.loads(body)["error"]["code"]):
            wrong[path] = status, headers, body
    assert wrong == {}


# What the framework and the server would say themselves


async def ask(app: Any, path: str = "/", method: str = "GET") -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}
    try:
        await app(scope, receive, send)
    except (Exception, asyncio.CancelledError):
        sent.append({"type": "raised"})
    return sent


def read(sent: list[Message]) -> tuple[int, dict[bytes, bytes], Any]:
    start, body, *_ = sent
    return start["status"], dict(start["headers"]), json.loads(body["body"])


def failing(fault: BaseException | None) -> Any:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        if fault is not None:
            raise fault

    return SafeAnswers(app)


@each_row("path", ["/webhooks/ship24", "/ops/api/forget"])
@each_row(
    ("fault", "status", "code"),
    [(ValueError("secret"), 500, "internal"), (None, 500, "internal"), (asyncio.CancelledError(), 503, "busy")],
)
def test_a_fault_outside_the_framework_is_json_too(path: str, fault: BaseException | None, status: int, code: str) -> None:
    sent = asyncio.run(ask(failing(fault), path))
    found, headers, body = read(sent)
    assert (found, headers[b"content-type"], body["error"]["code"]) == (status, b"application/json", code)
    assert "secret" not in str(body)
    check_security(path, {name.decode(): value.decode() for name, value in headers.items()})
    assert (sent[-1]["type"] == "raised") is (fault is not None)  # the server logs it


@each_row(
    ("status", "code"),
    [
        *((400, "bad_request"), (401, "unauthorized"), (403, "forbidden"), (404, "not_found"), (405, "method_not_allowed")),
        *((413, "body_too_large"), (415, "unsupported_encoding"), (418, "im_a_teapot"), (422, "unexpected_shape")),
        *((429, "too_many_attempts"), (431, "headers_too_large"), (500, "internal"), (503, "busy")),
    ],
)
def test_an_error_of_the_framework_keeps_its_status_and_headers(status: int, code: str) -> None:
    def endpoint(_request: object) -> None:
        raise HTTPException(status, "Words of the framework.", {"Allow": "GET", "Retry-After": "3"})

    app = Starlette(routes=[Route("/", endpoint)], exception_handlers={HTTPException: on_http_exception})
    found, headers, body = read(asyncio.run(ask(app)))
    assert (found, body["error"]["code"]) == (status, code)
    assert headers[b"content-type"] == b"application/json"
    assert (headers[b"allow"], headers[b"retry-after"]) == (b"GET", b"3")


def test_headers_that_an_answer_has_already_stay_as_they_are() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
        await send({"type": "http.response.body", "body": b"{}"})

    _, headers, _ = read(asyncio.run(ask(SafeAnswers(app), "/ops/static/x")))
    assert headers[b"cache-control"] == b"public"
    assert headers[b"x-content-type-options"] == b"nosniff"
