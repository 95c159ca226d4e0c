"""HTTP targets: changes are posted with a signature. The status of the response decides.

The beginning of the body of an error is stored with the change, for people. Errors name the target and the status, never the
URL: it may contain a token.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from threading import Lock, Timer
from time import monotonic
from typing import NamedTuple
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from receiver import clock
from receiver.access.bearer import Secret
from receiver.domain.changes import TEST_HEADER, Change
from receiver.relay.connections import Connection, Connections
from receiver.relay.destinations import NotAllowed
from receiver.relay.excerpts import list_secret_parts, make_excerpt
from receiver.relay.signature import Signer, name_forms
from receiver.relay.target import AT_ONCE, NotAcknowledged, TargetGone, TargetUnavailable, TimedOut
from receiver.settings.targets import TargetSettings

_MAX_REST_BYTES = 4096  # of a response body, read so that the connection can be used again
_REST_SECONDS = 0.5
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
_FAULTS = (OSError, HTTPException, HTTPError, ValueError)


class TargetResponse(NamedTuple):
    """The relevant parts of a response. `retry_after` is the header as received.

    `beginning` is the start of the body, unless it is compressed. `is_cut`: there may be more.
    """

    status: int
    retry_after: str | None = None
    beginning: bytes = b""
    is_cut: bool = False


class HttpTarget:
    """One URL. Requests run in threads of this target, so that one that hangs does not delay other targets."""

    runs_foreign_code = False

    def __init__(self, settings: TargetSettings, secrets: Sequence[Secret]) -> None:
        self.subscription = settings.subscription
        self.timeout_seconds = settings.timeout_seconds
        self._signer = Signer(settings.name, secrets)
        parts = urlsplit(settings.url)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connections = Connections(settings.url, settings.timeout_seconds, allow_private=settings.allow_private)
        self._threads = ThreadPoolExecutor(AT_ONCE, f"target {settings.name}")
        self._secrets = list_secret_parts(settings.url).union(*(name_forms(secret.reveal()) for secret in secrets))
        self._under_way: set[Post] = set()

    async def deliver(self, change: Change) -> int:
        """Post a change; return the status, which is 2xx. Raises NotAcknowledged, TargetUnavailable, TimedOut or TargetGone."""
        now, body = clock.now(), change.write_body()
        marked = {TEST_HEADER: "true"} if change.is_test else {}
        signed = self._signer.sign(change.id, now, body)
        headers = {"content-type": "application/json", "user-agent": "receiver", **marked, **signed}
        post = Post(self._connections, self._path, headers, body)
        self._under_way.add(post)
        try:
            response = await asyncio.get_running_loop().run_in_executor(self._threads, post.run)
        except TimeoutError:
            raise TimedOut(self.timeout_seconds) from None
        except NotAllowed as error:
            raise TargetUnavailable(f"{self.subscription.target} was not called: {error}.") from None
        except _FAULTS as error:
            raise TargetUnavailable(f"{self.subscription.target} did not answer: {_explain(error)}.") from None
        finally:
            post.cut()  # which still runs after a time-out
            self._under_way.discard(post)
        if 200 <= response.status < 300:
            return response.status
        answer = make_excerpt(response.beginning, self._secrets, is_cut=response.is_cut)
        raise make_target_error(self.subscription.target, response, clock.now(), answer)

    async def close(self) -> None:
        """Cut all requests and close all connections."""
        for post in self._under_way:
            post.cut()
        self._connections.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


class Post:
    """One request, in a thread; `cut` ends it from another thread."""

    def __init__(self, connections: Connections, path: str, headers: dict[str, str], body: bytes) -> None:
        self._connections = connections
        self._path = path
        self._headers = headers
        self._body = body
        self._lock = Lock()
        self._used: Connection | None = None
        self._is_cut = False

    def run(self) -> TargetResponse:
        """Post and return the response. Raises TimeoutError, NotAllowed, or whatever the libraries raise."""
        idle = self._connections.take()
        if idle is not None:
            try:
                return self._send(idle)
            except ConnectionError:
                pass  # closed while idle; if the change did arrive, the target recognises its ID
        return self._send(self._connections.make())

    def cut(self) -> None:
        """End the request, if it still runs."""
        with self._lock:
            self._is_cut = True
            if self._used is not None:
                self._used.transport.cut()

    def _send(self, connection: Connection) -> TargetResponse:
        with self._lock:
            if self._is_cut:
                raise TimeoutError
            self._used = connection
        is_reusable = False
        try:
            connection.request("POST", self._path, self._body, self._headers, preload_content=False, decode_content=False)
            opened = connection.sock  # the connection drops it if the server closes after this response
            response = connection.getresponse()
            beginning, is_whole = _read_beginning(opened, response, connection.transport.cut)
            is_http = response.status != HTTPStatus.SWITCHING_PROTOCOLS  # unasked, and what follows is not HTTP
            is_reusable = is_http and is_whole and connection.sock is not None
            if "content-encoding" in response.headers:
                beginning = b""
            return TargetResponse(response.status, response.headers.get("retry-after"), beginning, not is_whole)
        finally:
            with self._lock:
                self._used = None
            if is_reusable and not self._is_cut:
                self._connections.give_back(connection)
            else:
                connection.close()


def make_target_error(target: str, response: TargetResponse, now: datetime, answer: str) -> NotAcknowledged | TargetGone:
    """Return the error of a response that is not 2xx. `answer` is the beginning of its body as an excerpt."""
    if response.status == 410:
        return TargetGone(f"{target} answered 410 and gets no more changes.", answer, 410)
    requested_seconds = read_retry_after(response.retry_after, now) if response.status in {429, 503} else None
    is_down = response.status == 429 or response.status >= 500
    kind = TargetUnavailable if is_down else NotAcknowledged
    return kind(f"{target} answered {response.status}.", requested_seconds, answer, response.status)


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3: a number or a date); None if it is neither."""
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def _read_beginning(opened: socket.socket, response: BaseHTTPResponse, cut: Callable[[], None]) -> tuple[bytes, bool]:
    """Read the body of a response as far as it is short and arrives at once; return it, and whether it is whole."""
    deadline, beginning = monotonic() + _REST_SECONDS, b""
    late = Timer(_REST_SECONDS, cut)
    late.daemon = True
    try:
        if "transfer-encoding" in response.headers:
            late.start()  # a line with the size of a chunk may drip, and is read to its end
        opened.settimeout(_REST_SECONDS)
        while len(beginning) < _MAX_REST_BYTES and monotonic() < deadline:
            piece = response.read1(_MAX_REST_BYTES - len(beginning))
            if not piece:
                return beginning, True
            beginning += piece
    except _FAULTS:
        pass  # the status is known, and it is what counts
    finally:
        late.cancel()
    return beginning, False


def _explain(error: Exception) -> str:
    """Return what went wrong, without anything that the target sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({error.verify_message})"
    return type(error).__name__
