"""Spans of deliveries and commits, made with the SDK of OpenTelemetry and sent by its exporter.

Only `traces` imports this module, because the packages are those of the extra `otel`.

The attributes are fixed words, numbers and our own ids. Nothing of a request is in them: no body, header, query or address, and
no message of an error. A trace of the sender is not continued: a stranger could switch on sampling.
"""

from collections.abc import Sequence
from threading import Thread
from time import time_ns
from typing import Any

import orjson
import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver import __version__
from receiver.domain.verdicts import OUTCOMES
from receiver.logs.outage import Outage
from receiver.writer.wire import Batch

_NO_NAME = "unknown_service"  # the SDK's word where OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have none
_NAME = "receiver"
_SECOND = 10**9
_COUNTS = ("received", *OUTCOMES)
_REFUSED = "the collector cannot be reached or does not take them; compare the endpoint and the headers in OTEL_EXPORTER_OTLP_…"

_log = structlog.get_logger()


class OtlpTraces:
    """Spans of this process, sent by a thread."""

    def __init__(self) -> None:
        self._provider = TracerProvider(resource=_describe_service(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(ReportingExporter()))
        self._tracer = self._provider.get_tracer(_NAME, __version__)

    def watch(self, endpoint: ASGIApp, source: str, path: str) -> ASGIApp:
        """Return an endpoint of deliveries that makes a span of each POST."""
        return WatchedEndpoint(endpoint, self._tracer, source, path)

    def note_commit(self, batch: Batch) -> None:
        """Make a span of a commit that has just ended."""
        ended = time_ns()
        attributes: dict[str, Any] = {"receiver.deliveries": batch.deliveries}
        for (source, outcome), number in batch.verdicts.items():
            attributes[f"receiver.{source}.{outcome}"] = number
        began = ended - round(batch.seconds * _SECOND)
        self._tracer.start_span("commit", Context(), attributes=attributes, start_time=began).end(ended)

    def close(self, seconds: float) -> None:
        """Send the last spans, in at most so many seconds."""
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(max(0.0, seconds))


class WatchedEndpoint:
    """An endpoint of deliveries with a span of each POST, as an ASGI application."""

    def __init__(self, endpoint: ASGIApp, tracer: Tracer, source: str, path: str) -> None:
        self._endpoint = endpoint
        self._tracer = tracer
        self._name = f"POST {path}"
        self._attributes = {"http.request.method": "POST", "http.route": path, "receiver.source": source}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] != "POST":
            await self._endpoint(scope, receive, send)
            return
        answer = NotedAnswer(send)
        span = self._tracer.start_span(self._name, Context(), SpanKind.SERVER, self._attributes)
        try:
            await self._endpoint(scope, receive, answer.send)
        finally:
            answer.describe(span)
            span.end()


class NotedAnswer:
    """The answer to a delivery on its way to the sender."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._status = 500  # what a fault of our own is answered further out
        self._body = b""

    async def send(self, message: Message) -> None:
        """Note a part of the answer and pass it on."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
        else:
            self._body += message.get("body", b"")
        await self._send(message)

    def describe(self, span: Span) -> None:
        """Give a span the status, the delivery's id, the counts by outcome, and the code of an error."""
        span.set_attribute("http.response.status_code", self._status)
        content = orjson.loads(self._body) if self._body else {}
        if "delivery_id" in content:
            span.set_attribute("receiver.delivery_id", content["delivery_id"])
        span.set_attributes({f"receiver.{name}": content[name] for name in _COUNTS if name in content})
        if "error" in content:
            span.set_attribute("error.type", content["error"]["code"])
        if self._status >= 500:
            span.set_status(StatusCode.ERROR)


class ReportingExporter(SpanExporter):
    """The exporter, which says in one line that spans are lost, and in one that they are sent again.

    The SDK's own lines are switched off (`logs.setup`): they repeat, and quote URLs and answers.
    """

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()
        self._outage = Outage()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans. What cannot be sent is lost."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._outage.end():
                _log.info("traces_sent_again")
        elif self._outage.begin(_REFUSED):
            _log.warning("traces_not_sent", cause=_REFUSED)
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def _describe_service() -> Resource:
    found = Resource.create({SERVICE_VERSION: __version__})
    has_name = not str(found.attributes.get(SERVICE_NAME, _NO_NAME)).startswith(_NO_NAME)
    return found if has_name else found.merge(Resource({SERVICE_NAME: _NAME}))
