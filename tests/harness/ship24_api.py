"""A stand-in for Ship24's API on loopback, with the oddities of the real one.

It plays what `docs.ship24.com` and the vendor's OpenAPI file say: no total of a list, results without `metadata`, a history whose
status codes are text, 429 in plain text, 400 for a malformed key.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "apik_of_these_tests"
PAGE = 500
WEBHOOK_URL = "https://old.example/hooks"

Item = dict[str, Any]
Reply = tuple[int, dict[str, str], bytes]


@dataclass
class VendorTracker:
    """A tracker at the vendor: its events, oldest first, and its messages with how the last try of each ended."""

    tracker_id: str
    events: list[Item] = field(default_factory=list)
    messages: list[tuple[Item, str]] = field(default_factory=list)
    is_subscribed: bool = True
    created_at: str = "2026-01-01T00:00:00.000Z"
    has_history: bool = True
    leaves_out_ids: bool = False

    def send(self, item: Item, status: str = "failed") -> Item:
        """Remember a message with its events; return it."""
        known = {event["eventId"] for event in self.events}
        self.events += [event for event in item.get("events", ()) if event["eventId"] not in known]
        self.messages.append((item, status))
        return item

    def describe(self) -> Item:
        return {
            "trackerId": self.tracker_id,
            "trackingNumber": f"TN-{self.tracker_id}",
            "clientTrackerId": None,
            "isSubscribed": self.is_subscribed,
            "isTracked": True,
            "createdAt": self.created_at,
        }

    def results(self) -> Item:
        shipment = {"shipmentId": f"shipment-{self.tracker_id}", "statusMilestone": "in_transit", "recipient": None}
        item = {"tracker": self.describe(), "shipment": shipment, "events": self.events[::-1], "statistics": {"timestamps": {}}}
        return {"data": {"trackings": [item]}}

    def history(self) -> Item:
        """Return the history: newest first, status codes as text."""
        metadata = {
            **{name: self.describe()[name] for name in ("trackingNumber", "trackerId", "clientTrackerId")},
            "webhookUrl": WEBHOOK_URL,
            "lastSuccessfulPushAt": None,
            "lastFailedPushAt": None,
        }
        webhooks = [
            {
                "status": status,
                "pushTimestamp": f"2026-01-02T00:{number // 60:02}:{number % 60:02}.000Z",
                "requestBody": {"trackings": [self._strip(item)]},
                "responseBody": None,
                "responseHeaders": {},
                "responseStatusCode": "200" if status == "success" else None,
            }
            for number, (item, status) in enumerate(self.messages)
        ]
        return {"metadata": metadata, "webhooks": webhooks[::-1]}

    def _strip(self, item: Item) -> Item:
        return {name: value for name, value in item.items() if not (self.leaves_out_ids and name in {"metadata", "tracker"})}


class FakeShip24:
    """The vendor. `odd` are replies to give first, by a part of the path; `calls` has `METHOD path` of each request."""

    def __init__(self) -> None:
        self.trackers: dict[str, VendorTracker] = {}
        self.odd: list[tuple[str, Reply]] = []
        self.calls: list[str] = []
        self.before_reply: Callable[[str], object] = lambda _call: None
        self.url = ""

    def add(self, tracker_id: str, **fields: Any) -> VendorTracker:
        """Add a tracker."""
        added = self.trackers[tracker_id] = VendorTracker(tracker_id, **fields)
        return added

    def asked(self, part: str) -> list[str]:
        """Return the requests with this part in their path."""
        return [call for call in self.calls if part in call]

    def reply(self, method: str, path: str, authorization: str | None) -> Reply:
        """Return the answer to a request."""
        call = f"{method} {path}"
        self.calls.append(call)
        self.before_reply(call)
        for number, (part, reply) in enumerate(self.odd):
            if part in path:
                del self.odd[number]
                return reply
        if authorization is None:
            return say_error(400, "auth_missing_header")
        if authorization != f"Bearer {KEY}":
            return say_error(401, "auth_invalid_api_key")
        parts = urlsplit(path)
        if parts.path == "/trackers" and method == "GET":
            return self._list(parse_qs(parts.query))
        named = re.fullmatch(r"/trackers/([^/]+)/(results|webhook-history/download|webhook-events/resend)", parts.path)
        tracker = self.trackers.get(unquote(named[1])) if named else None
        if named is None or tracker is None or (not tracker.has_history and "history" in path):
            return say_error(404, "tracker_not_found")
        answers = {
            "results": lambda: say(200, tracker.results()),
            "webhook-history/download": lambda: say(200, tracker.history()),
            "webhook-events/resend": lambda: say(201, {"data": {"summary": {"totalResent": str(len(tracker.messages))}}}),
        }
        return answers[named[2]]()

    def _list(self, query: dict[str, list[str]]) -> Reply:
        limit = int(query["limit"][0])
        first = (int(query["page"][0]) - 1) * limit
        listed = sorted(self.trackers.values(), key=lambda tracker: tracker.created_at)[first : first + limit]
        return say(200, {"data": {"trackers": [tracker.describe() for tracker in listed]}})


def say(status: int, content: Any, **headers: str) -> Reply:
    """Return a reply in JSON."""
    return status, {"Content-Type": "application/json", **headers}, json.dumps(content).encode()


def say_error(status: int, code: str) -> Reply:
    """Return an error as the vendor writes it."""
    return say(status, {"errors": [{"code": code}], "data": None})


def say_text(status: int, text: str, **headers: str) -> Reply:
    """Return a reply that is no JSON, as that of the rate limiter."""
    return status, {"Content-Type": "text/plain", **headers}, text.encode()


@contextmanager
def fake_ship24() -> Iterator[FakeShip24]:
    """Give a vendor that serves on loopback."""
    vendor = FakeShip24()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            status, headers, content = vendor.reply(self.command, self.path, self.headers.get("Authorization"))
            self.send_response(status)
            for name, value in {**headers, "x-request-id": f"request-{len(vendor.calls)}"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    vendor.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield vendor
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
