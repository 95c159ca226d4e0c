"""Logs: one line an event, a fixed name plus pairs; never a body or a secret."""

import logging
import sys
from collections.abc import Iterable
from typing import Any, Literal

import structlog


def configure(log_format: Literal["json", "console"], secrets: Iterable[str]) -> None:
    """Send everything, the libraries' lines too, to standard error in one format, with known secrets struck out."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _Redactor(secrets),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for library in ("alembic", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)  # what they do, we say in our own events
    for library in ("urllib3", "nats"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # they quote whole URLs, and what servers say
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )


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
