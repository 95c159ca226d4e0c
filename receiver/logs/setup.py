"""The set-up of logs: an event is one line, a fixed name plus pairs, no bodies and no secrets. Logging waits for no reader."""

import atexit
import logging
import sys
from collections.abc import Iterable
from time import monotonic
from typing import Any, Literal

import structlog

from receiver.logs.limits import LineLimits
from receiver.logs.lines import LineWriter, QueuedStderr, encode_line

_STDERR = 2
_LAST_SECONDS = 2.0  # the time that an ending process waits for its last lines

_log = structlog.get_logger()


def configure(log_format: Literal["json", "console"], secrets: Iterable[str]) -> None:
    """Send all log lines, those of libraries too, to standard error in one format, without known secrets.

    Other output there, such as the traceback of a crash, goes through the same queue. Call this once, in a process that serves;
    each process forked from it has its own queue.
    """
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    limits = LineLimits(monotonic)
    lines = LineWriter(_STDERR, lambda: _report_missing(lines, limits))
    sys.stderr = QueuedStderr(lines, encoding, is_terminal=is_terminal)
    atexit.register(drain)
    handler = _QueueHandler(lines, encoding)
    handler.addFilter(limits)
    handler.setFormatter(_configure_structlog(log_format, secrets, colors=is_terminal))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for library in ("alembic", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)  # our own events report the same
    for library in ("urllib3", "nats", "opentelemetry", "psycopg"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # they quote whole URLs, and texts of servers


def _configure_structlog(log_format: str, secrets: Iterable[str], *, colors: bool) -> logging.Formatter:
    """Send our own events through the logging module; return the formatter for them and for lines of libraries."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _Redactor(secrets),
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=colors) if log_format == "console" else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def drain() -> None:
    """Wait a moment for the last lines of this process. Call this before `os._exit`, which runs no exit handlers."""
    sys.stderr.flush()
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _QueueHandler):
            handler.lines.drain(_LAST_SECONDS)


def count_dropped() -> int:
    """Return the number of lines that this process has dropped: nobody read them, or they could not be written."""
    return sum(handler.lines.dropped for handler in logging.getLogger().handlers if isinstance(handler, _QueueHandler))


class _QueueHandler(logging.Handler):
    """Formats a record and queues the line."""

    def __init__(self, lines: LineWriter, encoding: str) -> None:
        super().__init__()
        self.lines = lines
        self._encoding = encoding

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record. If it cannot be formatted, report that instead."""
        try:
            self.lines.put(encode_line(self.format(record), self._encoding))
        except Exception:
            self.handleError(record)


def _report_missing(lines: LineWriter, limits: LineLimits) -> None:
    """Log the number of dropped lines, and the number of suppressed lines of each event."""
    dropped = lines.take_dropped()
    if dropped:
        _log.warning("log_lines_dropped", lines=dropped)
    for event, suppressed in limits.take_suppressed().items():
        _log.warning("log_lines_suppressed", of=event, lines=suppressed)


def warn_of_ignored(variables: list[str]) -> None:
    """Log the names of environment variables that look like settings but are not, if there are any."""
    if variables:
        cause = "Kubernetes or Docker makes them for a service named receiver."
        structlog.get_logger().warning("variables_ignored", names=", ".join(variables), cause=cause)


class _Redactor:
    """Replaces every known secret in a line, in case a library quotes one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)

    def __call__(self, _logger: object, _method: str, pairs: dict[str, Any]) -> dict[str, Any]:
        return {name: self._redact(value) if isinstance(value, str) else value for name, value in pairs.items()}

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text
