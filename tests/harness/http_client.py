"""HTTP requests from a chosen address of one machine to another, with or without TLS."""

import ssl
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import NamedTuple

from tests.harness.network import Machine
from tests.harness.service import SHIP24, TOKEN, Reply, bearer, receive, send

_PATIENCE_SECONDS = 60.0


class Way(NamedTuple):
    """From an address of a machine to a service; with the certificate that is expected there, over TLS."""

    source: str
    host: str
    port: int
    certificate: Path | None = None

    def connect(self) -> HTTPConnection:
        """Return a connection; it connects where it is used first."""
        given = (self.host, self.port)
        if self.certificate is None:
            return HTTPConnection(*given, timeout=_PATIENCE_SECONDS, source_address=(self.source, 0))
        trust = ssl.create_default_context(cafile=str(self.certificate))
        return HTTPSConnection(*given, timeout=_PATIENCE_SECONDS, source_address=(self.source, 0), context=trust)


def call(
    machine: Machine,
    way: Way,
    body: bytes | None,
    path: str = SHIP24,
    headers: Sequence[tuple[str, str]] = (),
    token: str = TOKEN,
) -> Reply:
    """Send one request from a machine; without a body a GET. Headers may repeat."""
    with closing(way.connect()) as connection:
        machine.do(connection.connect)
        send(connection, "GET" if body is None else "POST", path, body, [*bearer(token), *headers])
        return receive(connection)
