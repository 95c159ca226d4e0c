"""The ways in which a notice is sent: a POST to a URL, or a command. Neither the URL nor the command is ever logged."""

import os
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar
from urllib.parse import unquote

import orjson
import urllib3

from receiver.access.bearer import Secret
from receiver.domain.notices import Notice, NoticeFormat, NoticeRequest, recognise_format, write_notice
from receiver.relay.connections import Connection, Connections

_SLACK_SECONDS = 1.0  # the time-out of the whole request comes first
_OWN_VARIABLES = ("RECEIVER_", "DATABASE_URL")
_CAUSES = {
    400: "the service at the URL does not understand the notice; check RECEIVER_ALARM_FORMAT",
    401: "the token in the URL is not accepted",
    403: "the token in the URL is not accepted",
    404: "the URL is unknown there; copy it again",
    410: "the URL was removed there; make a new one",
    429: "the service at the URL gets too many requests",
}


_FAULTS: dict[type[Exception], str] = {  # more special ones first
    ConnectionRefusedError: "the connection was refused",
    socket.gaierror: "the name of the host was not found",
    ssl.SSLCertVerificationError: "the certificate is not valid for this host",
    FileNotFoundError: "the program was not found",
    PermissionError: "the program cannot be run",
}

R = TypeVar("R")


class NotSent(Exception):
    """A notice was not sent. The text can be logged: it contains nothing of the URL, the command, its output or a password."""


def explain_error(error: Exception) -> str:
    """Return the reason why a notice was not sent, without anything secret: words of our own, or the kind of the error."""
    if isinstance(error, NotSent):
        return str(error)
    return next((words for kind, words in _FAULTS.items() if isinstance(error, kind)), type(error).__name__)


def run_bounded(seconds: float, work: Callable[[], R], cut: Callable[[], None]) -> R:
    """Return the result of work that talks to a server. Raises what it raises, and NotSent after the time-out.

    The work runs in a thread of its own, because a DNS lookup cannot be cancelled. After the time-out `cut` ends its connection.
    """
    done: Future[R] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=run, name="notice", daemon=True).start()
    try:
        return done.result(timeout=seconds)
    except TimeoutError:
        if done.done():  # it is the work's own time-out
            raise
        cut()
        raise NotSent(f"no response within {seconds:g} seconds") from None


class Poster:
    """Posts to a URL. Follows no redirects: they would send the notice, and perhaps a token, somewhere else.

    Without a format, the host decides.
    """

    def __init__(self, url: Secret, seconds: float, form: NoticeFormat | None = None) -> None:
        self._url = url
        self._seconds = seconds
        self.form = form or recognise_format(url.reveal())

    def __call__(self, notice: Notice) -> str:
        """Post a notice and return what came back.

        Raises NotSent, or whatever urllib3 raises, if there is no 2xx within the time for DNS, TLS and response.
        """
        url = self._url.reveal()
        connection = Connections(url, self._seconds + _SLACK_SECONDS, allow_private=True).make()
        request = write_notice(notice, self.form)
        status = run_bounded(self._seconds, lambda: _post(connection, url, request), connection.transport.cut)
        if not 200 <= status < 300:
            raise NotSent(_explain(status))
        return f"the response was {status}"


def _explain(status: int) -> str:
    if 300 <= status < 400:
        return f"the response was {status}: redirects are not followed; set the URL that it leads to"
    cause = _CAUSES.get(status)
    return f"the response was {status}" + (f": {cause}" if cause else "")


def _post(connection: Connection, address: str, request: NoticeRequest) -> int:
    """Return the status of the response. Its body is not read: it could be endless."""
    url = urllib3.util.parse_url(address)
    headers = {**request.headers, "user-agent": "receiver"}
    if url.auth is not None:
        headers |= urllib3.util.make_headers(basic_auth=unquote(url.auth))
    try:
        connection.request("POST", url.request_uri, request.body, headers, preload_content=False, decode_content=False)
        return connection.getresponse().status
    finally:
        connection.close()


class Command:
    """Runs a command without a shell, with JSON on standard input and without our own environment variables: they are secrets."""

    def __init__(self, words: Sequence[str], seconds: float) -> None:
        self._words = words
        self._seconds = seconds
        self._running: set[subprocess.Popen[bytes]] = set()

    def __call__(self, notice: Notice) -> str:
        """Run the command to its end and return what came back. Raises NotSent after the time-out, and for an exit code but 0."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
        with subprocess.Popen(  # noqa: S603  the operator's own command, from the settings
            self._words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        ) as process:
            self._running.add(process)
            try:
                process.communicate(orjson.dumps(notice._asdict()), timeout=self._seconds)
            except subprocess.TimeoutExpired:
                _kill(process)
                raise NotSent(f"it did not end within {self._seconds:g} seconds") from None
            finally:
                self._running.discard(process)
        if process.returncode != 0:
            raise NotSent(f"its exit code was {process.returncode}")
        return "its exit code was 0"

    def kill(self) -> None:
        """Kill the command and its children, if it runs."""
        for process in tuple(self._running):
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
