"""A collector of OpenTelemetry on loopback: it keeps what it is sent with OTLP over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """What came: the bodies, the headers of the last request, and the spans in them. `status` is what it answers."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.status = 200
        self.bodies: list[bytes] = []
        self.headers: dict[str, str] = {}

    def spans(self, name: str) -> list[dict[str, Any]]:
        """Return the attributes of the spans with this name, and their status under `status`."""
        return [
            {attribute.key: _value(attribute.value) for attribute in span.attributes} | {"status": span.status.code}
            for scope in self._scopes()
            for span in scope.spans
            if span.name == name
        ]

    def names(self) -> set[str]:
        """Return the names of all spans."""
        return {span.name for scope in self._scopes() for span in scope.spans}

    def service(self) -> dict[str, Any]:
        """Return the attributes of the service in the first body."""
        (sent, *_) = ExportTraceServiceRequest.FromString(self.bodies[0]).resource_spans
        return {attribute.key: _value(attribute.value) for attribute in sent.resource.attributes}

    def _scopes(self) -> Iterator[Any]:
        for body in list(self.bodies):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                yield from resource.scope_spans


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@contextmanager
def collecting() -> Iterator[Collector]:
    """Give a collector until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if collector.status == 200:
                assert self.path == "/v1/traces"
                collector.headers = {name.lower(): value for name, value in self.headers.items()}
                collector.bodies.append(body)
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(server.server_address[1])
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
