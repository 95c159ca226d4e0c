"""Receivers of Ship24's webhooks as tutorials write them: real HTTP servers, each with its own mistakes."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import urllib3

from tests.harness.service import TOKEN

_LARGE_BYTES = 100_000


class Wrong(BaseHTTPRequestHandler):
    """What all of them share: one path, bodies with a length, JSON in answers. `kept` are the message ids that came."""

    protocol_version = "HTTP/1.1"
    kept: ClassVar[list[str]]
    lock: ClassVar[threading.Lock]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the library's name
        """Say nothing."""

    def body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def say(self, status: int, answer: Any = None, **headers: str) -> None:
        data = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()


class Tutorial(Wrong):
    """Takes the first event of the first item, redirects the slash, knows no HEAD; answers 200, failed or not."""

    def do_HEAD(self) -> None:
        self.say(405)

    def do_POST(self) -> None:
        body = self.body()
        if self.path.endswith("/"):
            self.say(308, Location=self.path.rstrip("/"))
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.say(401, {"success": False})
        else:
            self.say(200, self._handle(body))

    def _handle(self, body: bytes) -> dict[str, Any]:
        try:
            root = json.loads(body)
            first = (root.get("data") or root)["trackings"][0]
            milestone, status = first["shipment"]["statusMilestone"], first["events"][0]["status"]
        except Exception as error:
            return {"success": False, "error": str(error)}
        return {"success": True, "message": f"{milestone}: {status}"}


class Careless(Wrong):
    """Parses before it authenticates, asks for the right token only if one is there, crashes on what it did not expect, and takes
    what it knows for a conflict.
    """

    def do_HEAD(self) -> None:
        self.say(200)

    def do_POST(self) -> None:
        try:
            root = json.loads(self.body())
        except ValueError:
            return self.say(400, {"error": "bad JSON"})
        sent = self.headers.get("Authorization")
        if sent is not None and sent != f"Bearer {TOKEN}":
            return self.say(401, {"error": "wrong token"})
        try:
            return self.say(*self._handle(root))
        except Exception:
            return self.say(500, {"error": "internal"})

    def _handle(self, root: Any) -> tuple[int, dict[str, Any]]:
        for item in root["trackings"]:
            item.get("shipment", {}).get("recipient", {}).get("name")
            for event in item.get("events") or []:
                datetime.strptime(event["occurrenceDatetime"][:19], "%Y-%m-%dT%H:%M:%S").astimezone()
        with self.lock:
            known = [item["metadata"]["messageId"] for item in root["trackings"] if item["metadata"]["messageId"] in self.kept]
            self.kept.extend(item["metadata"]["messageId"] for item in root["trackings"])
        return (409, {"error": "conflict"}) if known else (200, {"ok": True})


class Yes(Wrong):
    """Answers 200 to everything with the request in its answer, and breaks off its answer to a large request."""

    def do_HEAD(self) -> None:
        self.say(200)

    def do_POST(self) -> None:
        body = self.body()
        if len(body) > _LARGE_BYTES:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"ok": ')
            self.close_connection = True
        else:
            self.say(
                200, {"ok": True, "bytes": len(body), "headers": dict(self.headers)}, Echo=self.headers.get("Authorization", "")
            )


class FirstOnly(Wrong):
    """Stands before our own service and hands on the first event of each item only."""

    service: ClassVar[str]

    def do_HEAD(self) -> None:
        self.say(200)

    def do_POST(self) -> None:
        body = self._first_events(self.body())
        headers = {name: self.headers[name] for name in ("Authorization",) if name in self.headers}
        answer = urllib3.request("POST", f"{self.service}{self.path}", body=body, headers=headers, retries=False)
        self.say(answer.status, answer.json())

    def _first_events(self, body: bytes) -> bytes:
        try:
            root = json.loads(body)
            for item in root["trackings"]:
                item["events"] = item["events"][:1]
        except (ValueError, TypeError, KeyError):
            return body
        return json.dumps(root).encode()


@contextmanager
def wrong(kind: type[Wrong], **attributes: Any) -> Iterator[str]:
    """Give the URL of a wrong receiver that runs until the block ends."""
    handler = type(kind.__name__, (kind,), {"kept": [], "lock": threading.Lock(), **attributes})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/webhooks/ship24"
        finally:
            server.shutdown()
            thread.join()
