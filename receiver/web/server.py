"""uvicorn, with what it leaves open: a connection that never finishes its request is closed."""

import asyncio
import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from receiver.errors import ConfigurationError
from receiver.settings import Settings

_BACKLOG = 2048


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request, head or body, is not complete in time."""

    request_timeout_seconds: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._incomplete = True  # the first request may never begin
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._bound()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._incomplete = False
        self._bound()

    def data_received(self, data: bytes) -> None:
        """Wait on if these bytes leave a request unfinished."""
        super().data_received(data)
        self._bound()

    def on_message_begin(self) -> None:
        """A request begins, perhaps in the packet that ended the one before: it has its own time."""
        self._incomplete = True
        self._forget()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """A request is complete."""
        self._incomplete = False
        super().on_message_complete()

    def _bound(self) -> None:
        if self._incomplete and self._deadline is None:
            self._deadline = self.loop.call_later(self.request_timeout_seconds, self.transport.abort)
        elif not self._incomplete:
            self._forget()

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def listen(settings: Settings) -> socket.socket:
    """Return the listening socket. Raises ConfigurationError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"RECEIVER_HOST and RECEIVER_PORT: cannot listen on {settings.host}, port {settings.port}: {error.strerror}."
        ) from None


def make_server(app: ASGIApp, settings: Settings) -> uvicorn.Server:
    """Return a server for one process."""
    protocol = type(
        "Protocol",
        (BoundedProtocol,),
        {"request_timeout_seconds": settings.body_timeout_seconds},
    )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # our own resolver decides whom to believe
        server_header=False,
        timeout_keep_alive=75,  # longer than a proxy's own, so that it never sends into a closing connection
        timeout_graceful_shutdown=int(settings.commit_timeout_seconds + settings.body_timeout_seconds),
    )
    return uvicorn.Server(config)
