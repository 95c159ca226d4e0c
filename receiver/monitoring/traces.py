"""Traces for OpenTelemetry, sent with OTLP over HTTP: a span for each delivery and each commit.

Off, unless its standard variables ask for it and the extra `otel` is installed. Then nothing here is called for a delivery.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import structlog
from starlette.types import ASGIApp

from receiver.writer.counters import Counters
from receiver.writer.wire import Batch

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_EXPORTER = "otlp"

_log = structlog.get_logger()


class TraceRequest(NamedTuple):
    """What the variables ask for: traces or not; `problem` says why they are not sent although asked for."""

    wanted: bool
    problem: str | None = None


class Traces(Protocol):
    """What makes spans and sends them (`spans.OtlpTraces`)."""

    def watch(self, endpoint: ASGIApp, source: str, path: str) -> ASGIApp:
        """Return an endpoint that makes a span of each delivery."""
        ...

    def note_commit(self, batch: Batch) -> None:
        """Make a span of a commit that has just ended."""
        ...

    def close(self, seconds: float) -> None:
        """Send the last spans, in at most so many seconds."""
        ...


class TracedCounters(Counters):
    """Counters that make a span of each commit."""

    def __init__(self, traces: Traces) -> None:
        super().__init__()
        self._traces = traces

    def take(self, batch: Batch) -> None:
        """Count a commit and make its span."""
        super().take(batch)
        self._traces.note_commit(batch)


def read_trace_request(environment: Mapping[str, str]) -> TraceRequest:
    """Read the variables of OpenTelemetry (opentelemetry.io, "Environment Variable Specification"). An empty one is not set."""
    exporter, protocol = environment.get("OTEL_TRACES_EXPORTER", ""), _first(environment, _PROTOCOLS)
    is_disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if is_disabled or exporter == "none" or not (exporter or _first(environment, _ENDPOINTS)):
        return TraceRequest(wanted=False)
    if exporter not in {"", _EXPORTER}:
        return TraceRequest(wanted=False, problem=f"OTEL_TRACES_EXPORTER: expected {_EXPORTER} or none.")
    if protocol not in {"", _PROTOCOL}:
        return TraceRequest(wanted=False, problem=f"OTEL_EXPORTER_OTLP_PROTOCOL: expected {_PROTOCOL}.")
    return TraceRequest(wanted=True)


def start_traces(environment: Mapping[str, str]) -> Traces | None:
    """Begin to send traces, or return None. Call it after the last fork: it starts a thread.

    What is wrong is logged in one line, and the service runs without traces.
    """
    wanted, problem = read_trace_request(environment)
    if wanted:
        try:
            from receiver.monitoring.spans import OtlpTraces  # noqa: PLC0415  an extra that may not be installed

            traces = OtlpTraces()
            _log.info("traces_started")
        except ModuleNotFoundError:
            problem = "OpenTelemetry is not installed; install this program with its extra otel."
        except Exception as error:  # an invalid value of a variable: traces are not worth a delivery
            problem = f"OpenTelemetry does not accept its variables ({type(error).__name__})."
        else:
            return traces
    if problem is not None:
        _log.warning("traces_disabled", cause=problem)
    return None


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")
