"""The command `healthcheck`. Imports little: a container's health check runs it every few seconds."""

import http.client
import json
import os

import click

from receiver.errors import ConfigurationError, ReceiverError
from receiver.project.address import find_address

_SECONDS = 4.0  # shorter than the time-outs of health checks, whose users then see the reason
_PATH = "/readyz"


class Unhealthy(ReceiverError):
    """The service does not answer, or is not ready. Exit code 1."""


@click.command()
def healthcheck() -> None:
    """Ask the running service whether it is ready.

    The exit code is 0 if `/readyz` answers 200, and otherwise 1. For health checks of containers: it takes little time and reads
    no secrets.
    """
    try:
        host, port = find_address(os.environ)
    except ConfigurationError as error:
        raise Unhealthy(error.message) from None
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{_PATH}"
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request("GET", _PATH)
        response = connection.getresponse()
        status, body = response.status, response.read()
    except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: no name of a host can be like this
        raise Unhealthy(f"No answer at {url}: {getattr(error, 'strerror', None) or error or type(error).__name__}.") from None
    finally:
        connection.close()
    if status != http.client.OK:
        raise Unhealthy(f"{url} answered {status}{_explain(body)}.")
    click.echo("ready")


def _explain(body: bytes) -> str:
    """Return the names of the checks that failed."""
    try:
        checks = json.loads(body)["checks"]
        failed = [name for name, check in checks.items() if not check["ok"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f"; not ok: {', '.join(failed)}"
