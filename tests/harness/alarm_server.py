"""An HTTP server on loopback that receives alarms and answers as the test says."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

HANG = -1
"""Take the request and never answer."""

NONSENSE = -2
"""Answer 200 with a header that is none."""


class AlarmRequest(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    notice: dict[str, Any]


class AlarmServer:
    """Keep every request. Answer in the given order; repeat the last answer."""

    def __init__(self, *answers: int, location: str = "") -> None:
        self.told: list[AlarmRequest] = []
        self._answers = list(answers)
        self._location = location
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/told"

    @property
    def notices(self) -> list[dict[str, Any]]:
        return [told.notice for told in self.told]

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.told.append(AlarmRequest(request.path, headers, json.loads(body)))
        if answer == HANG:
            self._closing.wait()
        elif answer == NONSENSE:
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Ok: 1\r\nthis is no header\r\nX-Too: late\r\n\r\n")
        else:
            location = f"Location: {self._location}\r\n" if self._location else ""
            request.wfile.write(f"HTTP/1.1 {answer} Said\r\n{location}Content-Length: 0\r\n\r\n".encode())

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server._answer(self)
                self.close_connection = True

            def do_GET(self) -> None:
                server.told.append(AlarmRequest(self.path, {}, {}))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextmanager
def alarm_server(*answers: int, location: str = "") -> Iterator[AlarmServer]:
    """Run an alarm server until the block ends."""
    server = AlarmServer(*(answers or (200,)), location=location)
    try:
        yield server
    finally:
        server.close()
