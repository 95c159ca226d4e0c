"""The uvicorn server, with our own protocol on its connections."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from receiver.errors import ConfigurationError
from receiver.settings import Settings
from receiver.web.parsing import ParsingQueue
from receiver.web.protocol import BoundedProtocol

_BACKLOG = 2048


def listen(settings: Settings) -> socket.socket:
    """Return the listening socket. Raises ConfigurationError if the address is not available."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"RECEIVER_HOST and RECEIVER_PORT: cannot listen on {settings.host}, port {settings.port}: {error.strerror}."
        ) from None


class QuietServer(uvicorn.Server):
    """A server that leaves signals to the service."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield


def make_server(app: ASGIApp, settings: Settings, stop_seconds: float) -> uvicorn.Server:
    """Return a server for one process. When it stops, requests under way get at most `stop_seconds`."""
    protocol = type(
        "Protocol",
        (BoundedProtocol,),
        {"request_timeout_seconds": settings.body_timeout_seconds, "parsing": ParsingQueue()},
    )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # our own resolver decides which proxies to trust
        server_header=False,
        timeout_keep_alive=75,  # longer than that of proxies, so that they never send into a closing connection
        timeout_graceful_shutdown=max(1, int(min(stop_seconds, settings.commit_timeout_seconds + settings.body_timeout_seconds))),
    )
    return QuietServer(config)
