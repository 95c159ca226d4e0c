"""A client of Ship24's API, for what is needed to recover: trackers, results, webhook history, resend.

It never creates or changes a tracker. Its rate is half of the vendor's limits: the user's own programs have the other half.
Source: docs.ship24.com, "Errors" and "Rate limiter"; its OpenAPI file of 2026-07.
"""

import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from time import monotonic, sleep
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson
import structlog
import urllib3

from receiver import __version__
from receiver.access.bearer import Secret
from receiver.clock import now
from receiver.domain.reading import read_object, read_short_text
from receiver.domain.storable import make_storable
from receiver.errors import ReceiverError, VendorRefused, VendorUnavailable
from receiver.maintenance.reconcile.limited_connections import LimitedPools
from receiver.sources.large_json import load_large

PAGE_TRACKERS = 500
"""The number of trackers on a page. A shorter page is the last one: the vendor tells neither a total nor a next page."""

Wait = Callable[[float], object]
"""Sleeps for a number of seconds, or raises ReconcileStopped."""


class ReconcileStopped(ReceiverError):
    """A reconciliation was stopped. The same request continues it."""


_OFTEN_SECONDS = 0.2  # the vendor allows 10 a second
_SELDOM_SECONDS = 2.0  # the vendor allows 1 a second
_TIMEOUTS = urllib3.Timeout(connect=5.0, read=10.0)
_EXCHANGE_SECONDS = 40.0
_PIECE_BYTES = 1 << 16
_ATTEMPTS = 5
_FIRST_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 300.0
_MAX_BYTES = 64 * 2**20
_HISTORY_DEPTH = 2  # {"webhooks": [each of these
_DIGITS = re.compile(r"[0-9]{1,9}", re.ASCII)
_KEY_CODES = {"auth_missing_header", "auth_invalid_header", "auth_invalid_api_key"}

_log = structlog.get_logger()


class _Response(NamedTuple):
    """The parts of a response that matter. `code` is the vendor's error code."""

    status: int
    content: bytes
    retry_after: str | None
    request_id: str | None

    @property
    def code(self) -> str | None:
        try:
            errors = read_object(orjson.loads(self.content)).get("errors")
        except orjson.JSONDecodeError:  # 429 is plain text, 5xx may be HTML
            return None
        return read_short_text(read_object(errors[0]).get("code")) if isinstance(errors, list) and errors else None


class Ship24Api:
    """Asks Ship24. `wait` sleeps for a number of seconds; it may raise to stop the work. For one thread.

    Every method raises VendorRefused if the vendor does not accept the key, and VendorUnavailable if it does not answer properly
    after five attempts.
    """

    def __init__(
        self, url: str, key: Secret, wait: Wait = sleep, share: float = 1.0, exchange_seconds: float = _EXCHANGE_SECONDS
    ) -> None:
        """`share`: the part of our rate to use. `exchange_seconds`: the limit for a request with its whole response."""
        self._url = url.rstrip("/")
        self._key = key
        self._wait = wait
        self._share = share
        self._next_at: dict[float, float] = {}
        self._exchange_seconds = exchange_seconds
        self._pools = LimitedPools(_TIMEOUTS)

    def list_trackers(self, page: int) -> list[dict[str, Any]]:
        """Return a page of all trackers, from 1, the oldest first."""
        answer = self._ask("GET", f"/trackers?page={page}&limit={PAGE_TRACKERS}&sort=1", _OFTEN_SECONDS)
        found = read_object(read_object(answer).get("data")).get("trackers")
        if not isinstance(found, list):
            raise VendorUnavailable("Ship24 answered a list of trackers without `data.trackers`.")
        return [tracker for tracker in found if isinstance(tracker, dict)]

    def read_results(self, tracker_id: str) -> dict[str, Any] | None:
        """Return the events of a tracker, or None if the vendor does not know it."""
        return self._ask("GET", f"/trackers/{quote(tracker_id, safe='')}/results", _OFTEN_SECONDS)

    def read_history(self, tracker_id: str) -> dict[str, Any] | None:
        """Return the messages of a tracker, or None if the vendor does not know it."""
        return self._ask("GET", f"/trackers/{quote(tracker_id, safe='')}/webhook-history/download", _SELDOM_SECONDS)

    def resend(self, tracker_id: str) -> int | None:
        """Let the vendor send all messages of a tracker again; return their number, or None if it does not know the tracker."""
        answer = self._ask("POST", f"/trackers/{quote(tracker_id, safe='')}/webhook-events/resend", _SELDOM_SECONDS)
        if answer is None:
            return None
        total = read_object(read_object(read_object(answer).get("data")).get("summary")).get("totalResent")
        digits = str(total)  # an integer or a string
        return int(digits) if _DIGITS.fullmatch(digits) else 0

    def _ask(self, method: str, path: str, seconds: float) -> dict[str, Any] | None:
        """Return the object in the answer, or None for 404. Repeat after 429, 5xx and errors of the network."""
        problem = ""
        for attempt in range(_ATTEMPTS):
            self._keep_rate(seconds / self._share)
            try:
                response = self._send(method, path)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                problem = f"did not answer ({type(error).__name__})"
                self._wait(_FIRST_PAUSE_SECONDS * 2**attempt)
                continue
            if 200 <= response.status < 300:
                return _read_json(response)
            if response.status == 404 and response.code is not None:  # without a code it is another server's, or a wrong URL
                return None
            problem = f"answered {response.status}" + (f" {response.code}" if response.code else "")
            _log.warning("ship24_api_failed", path=path, status=response.status, code=response.code, request=response.request_id)
            if response.status in {401, 403} or response.code in _KEY_CODES:
                raise VendorRefused(f"Ship24 {problem}. Check RECEIVER_SHIP24_API_KEY: it is the API key, not a webhook secret.")
            if response.status != 429 and response.status < 500:
                break
            self._wait(_read_pause(response, attempt))
        raise VendorUnavailable(f"Ship24 {problem}.")

    def _keep_rate(self, seconds: float) -> None:
        """Wait until the next request of its kind may be made."""
        pause = self._next_at.get(seconds, 0.0) - monotonic()
        if pause > 0:
            self._wait(pause)
        self._next_at[seconds] = monotonic() + seconds

    def _send(self, method: str, path: str) -> _Response:
        headers = {
            "authorization": f"Bearer {self._key.reveal()}",
            "accept": "application/json",
            "user-agent": f"receiver/{__version__}",
        }
        with self._pools.limit(self._exchange_seconds):
            response = self._pools.request(method, self._url + path, headers=headers, redirect=False, preload_content=False)
            try:
                content = self._read(response)
            finally:
                response.close()  # a connection whose response was read to its end is in the pool again
        request_id = response.headers.get("x-request-id")
        return _Response(response.status, content, response.headers.get("retry-after"), make_storable(request_id, 100))

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """Return the body. Raises VendorUnavailable if it is too large."""
        content = bytearray()
        while piece := response.read1(_PIECE_BYTES, decode_content=True):
            content += piece
            self._wait(0)
            if len(content) > _MAX_BYTES:
                raise VendorUnavailable(f"Ship24 answered more than {_MAX_BYTES} bytes.")
        return bytes(content)


def _read_json(response: _Response) -> dict[str, Any]:
    try:
        answer = load_large(response.content, _HISTORY_DEPTH)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise VendorUnavailable(f"Ship24 answered {response.status} with something else than a JSON object.")
    return answer


def _read_pause(response: _Response, attempt: int) -> float:
    """Return the seconds to wait: those that the vendor names, or twice as many as before; at most five minutes."""
    text = (response.retry_after or "").strip()
    seconds: float = _FIRST_PAUSE_SECONDS * 2**attempt
    if _DIGITS.fullmatch(text):
        seconds = float(text)
    elif text:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return seconds
        seconds = float((moment.replace(tzinfo=moment.tzinfo or UTC) - now()).total_seconds())
    return min(max(seconds, 0.0), _MAX_PAUSE_SECONDS)
