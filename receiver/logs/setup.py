"""Logs: one line an event, a fixed name plus pairs; never a body or a secret. Who logs never waits for who reads."""

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
_LAST_SECONDS = 2.0  # which a process that ends waits for its last lines

_log = structlog.get_logger()


def configure(log_format: Literal["json", "console"], secrets: Iterable[str]) -> None:
    """Send everything, the libraries' lines too, to standard error in one format, with known secrets struck out.

    What else is printed there, such as the traceback of a crash, goes through the same queue. Call it once, in a process that
    serves; its forks log too, each through a queue of its own.
    """
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    limits = LineLimits(monotonic)
    lines = LineWriter(_STDERR, lambda: _report_left_out(lines, limits))
    sys.stderr = QueuedStderr(lines, encoding, is_terminal=is_terminal)
    atexit.register(drain)
    handler = _QueueHandler(lines, encoding)
    handler.addFilter(limits)
    handler.setFormatter(_configure_structlog(log_format, secrets, colors=is_terminal))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for library in ("alembic", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)  # what they do, we say in our own events
    for library in ("urllib3", "nats"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # they quote whole URLs, and what servers say


def _configure_structlog(log_format: str, secrets: Iterable[str], *, colors: bool) -> logging.Formatter:
    """Have our own events logged as the libraries' are; return what formats both."""
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
    """Wait a moment for the last lines of this process. What ends without Python's own ending (`os._exit`) calls it."""
    sys.stderr.flush()
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _QueueHandler):
            handler.lines.drain(_LAST_SECONDS)


def count_dropped() -> int:
    """Return how many lines this process has dropped: nobody read them, or they could not be written."""
    return sum(handler.lines.dropped for handler in logging.getLogger().handlers if isinstance(handler, _QueueHandler))


class _QueueHandler(logging.Handler):
    """Formats a record and leaves the line to the thread that writes."""

    def __init__(self, lines: LineWriter, encoding: str) -> None:
        super().__init__()
        self.lines = lines
        self._encoding = encoding

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on; one that cannot be formatted is reported in its place."""
        try:
            self.lines.put(encode_line(self.format(record), self._encoding))
        except Exception:
            self.handleError(record)


def _report_left_out(lines: LineWriter, limits: LineLimits) -> None:
    """Log how many lines were dropped because nobody read, and how many of an event because there were too many."""
    dropped = lines.take_dropped()
    if dropped:
        _log.warning("log_lines_dropped", lines=dropped)
    for event, suppressed in limits.take_suppressed().items():
        _log.warning("log_lines_suppressed", of=event, lines=suppressed)


def warn_of_ignored(variables: list[str]) -> None:
    """Log the variables that are no settings although they look like some, if there are any."""
    if variables:
        cause = "Kubernetes or Docker makes them for a service named receiver."
        structlog.get_logger().warning("variables_ignored", names=", ".join(variables), cause=cause)


class _Redactor:
    """Replaces every known secret in a line: the last net, for what a library may quote."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)

    def __call__(self, _logger: object, _method: str, pairs: dict[str, Any]) -> dict[str, Any]:
        return {name: self._strike(value) if isinstance(value, str) else value for name, value in pairs.items()}

    def _strike(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text
