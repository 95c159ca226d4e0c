"""Notifications that an alarm began or ended: a POST to a URL, a command, or both.

Each channel has a thread that sends one notice after the other, in order, so a channel that hangs holds up neither the other one
nor the service. Neither the URL nor the command is ever logged.
"""

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import NamedTuple
from urllib.parse import unquote

import orjson
import structlog
import urllib3

from receiver.access.bearer import Secret
from receiver.relay.connections import Connection, Connections

_MAX_WAITING = 100
_SLACK_SECONDS = 1.0  # the time-out of the whole request comes first
_OWN_VARIABLES = ("RECEIVER_", "DATABASE_URL")

_log = structlog.get_logger()


class Notice(NamedTuple):
    """An alarm that began or ended (`state`). Times are ISO 8601 in UTC."""

    alarm: str
    subject: str
    state: str
    message: str
    began_at: str
    ended_at: str | None = None


class NotifierTimings(NamedTuple):
    """Times of the notifier.

    pauses_seconds: before the second attempt, the third and so on
    url_seconds: for a whole request
    command_seconds: for the command
    closing_seconds: for the notices that are left when the service stops
    """

    pauses_seconds: tuple[float, ...] = (2.0, 10.0)
    url_seconds: float = 5.0
    command_seconds: float = 10.0
    closing_seconds: float = 5.0


NOTIFIER_TIMINGS = NotifierTimings()


class NotSent(Exception):
    """A notice was not sent. The text can be logged: it contains nothing of the URL, the command or its output."""


Send = Callable[[bytes], None]


def _ignore(_notice: Notice) -> None:
    """Do nothing with a settled notice."""


class AlarmNotifier:
    """Sends notices through all configured channels. Never raises and never waits."""

    def __init__(self, url: Secret | None, command: Sequence[str], timings: NotifierTimings = NOTIFIER_TIMINGS) -> None:
        self._on_settled: Callable[[Notice], None] = _ignore
        self._left: Counter[Notice] = Counter()
        self._lock = threading.Lock()
        self._command = Command(command, timings.command_seconds)
        self._closing_seconds = timings.closing_seconds
        senders: dict[str, Send] = {}
        if url is not None:
            senders["url"] = Poster(url, timings.url_seconds)
        if command:
            senders["command"] = self._command.run
        self._workers = [NotifierChannel(name, send, timings.pauses_seconds, self._settle) for name, send in senders.items()]

    def start(self, on_settled: Callable[[Notice], None] = _ignore) -> None:
        """Start sending. `on_settled` is called in any thread for each notice that every channel has sent or failed to send.

        It is not called for notices that are left when the service stops.
        """
        self._on_settled = on_settled
        for worker in self._workers:
            worker.start()

    def put(self, notice: Notice) -> None:
        """Queue a notice."""
        if not self._workers:
            self._on_settled(notice)
        with self._lock:
            self._left[notice] += len(self._workers)
        for worker in self._workers:
            worker.put(notice)

    def close(self) -> None:
        """Try the notices that are left once more, within a bounded time, and stop."""
        for worker in self._workers:
            worker.stop()
        deadline = monotonic() + self._closing_seconds
        for worker in self._workers:
            worker.join(max(0.0, deadline - monotonic()))
        self._command.kill()

    def _settle(self, notice: Notice) -> None:
        with self._lock:
            self._left[notice] -= 1
            is_last = not self._left[notice]
            self._left += Counter()  # drops zeros
        if is_last:
            self._on_settled(notice)


class NotifierChannel:
    """One channel with its queue and its thread."""

    def __init__(self, name: str, send: Send, pauses: Sequence[float], settle: Callable[[Notice], None]) -> None:
        self._settle = settle
        self._name = name
        self._send = send
        self._pauses = pauses
        self._waiting: SimpleQueue[Notice | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"notifier {name}", daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def put(self, notice: Notice) -> None:
        """Queue a notice, unless too many are waiting."""
        if self._waiting.qsize() < _MAX_WAITING:
            self._waiting.put(notice)
        else:
            self._fail(notice, "too many are waiting")

    def stop(self) -> None:
        """Try each waiting notice once more, without a pause, and end."""
        self._stopping.set()
        self._waiting.put(None)

    def join(self, seconds: float) -> None:
        """Wait for the end, for a bounded time, and drop what is left."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._abandoned.set()
            left = self._waiting.qsize()  # with the current one, without the end marker
            _log.error("alarms_not_sent", by=self._name, notices=left, cause="the service stops")

    def _run(self) -> None:
        while (notice := self._waiting.get()) is not None and not self._abandoned.is_set():
            try:
                self._deliver(notice)
            except Exception:  # the next notice may succeed
                _log.exception("alarm_not_sent", by=self._name, **_name(notice))

    def _deliver(self, notice: Notice) -> None:
        body = orjson.dumps(notice._asdict())
        for pause in (*self._pauses, None):
            try:
                self._send(body)
            except Exception as error:
                cause = str(error) if isinstance(error, NotSent) else type(error).__name__
            else:
                _log.info("alarm_sent", by=self._name, **_name(notice))
                self._settle(notice)
                return
            if pause is None or self._stopping.wait(pause):
                break
        self._fail(notice, cause)
        if not self._stopping.is_set():  # otherwise the next process tries
            self._settle(notice)

    def _fail(self, notice: Notice, cause: str) -> None:
        if not self._abandoned.is_set():  # logged already, once for all
            _log.error("alarm_not_sent", by=self._name, **_name(notice), cause=cause)


class Poster:
    """Posts to a URL. Follows no redirects: they would send the notice, and perhaps a token, somewhere else."""

    def __init__(self, url: Secret, seconds: float) -> None:
        self._url = url
        self._seconds = seconds

    def __call__(self, body: bytes) -> None:
        """Post JSON. Raises NotSent, or whatever urllib3 raises, if there is no 2xx within the time for DNS, TLS and response.

        It runs in a thread of its own, as a DNS lookup cannot be cancelled. After the time-out the connection is cut.
        """
        url = self._url.reveal()
        connection = Connections(url, self._seconds + _SLACK_SECONDS, allow_private=True).make()
        results: SimpleQueue[int | Exception] = SimpleQueue()

        def post() -> None:
            try:
                results.put(_post(connection, url, body))
            except Exception as error:
                results.put(error)
            finally:
                connection.close()

        threading.Thread(target=post, name="notice", daemon=True).start()
        try:
            result = results.get(timeout=self._seconds)
        except Empty:
            connection.transport.cut()
            raise NotSent(f"no response within {self._seconds:g} seconds") from None
        if isinstance(result, Exception):
            raise result
        if not 200 <= result < 300:
            raise NotSent(f"the response was {result}")


def _post(connection: Connection, address: str, body: bytes) -> int:
    """Return the status of the response. Its body is not read: it could be endless."""
    url = urllib3.util.parse_url(address)
    headers = {"content-type": "application/json", "user-agent": "receiver"}
    if url.auth is not None:
        headers |= urllib3.util.make_headers(basic_auth=unquote(url.auth))
    connection.request("POST", url.request_uri, body, headers, preload_content=False, decode_content=False)
    return connection.getresponse().status


class Command:
    """Runs a command without a shell, with JSON on standard input and without our own environment variables: they are secrets."""

    def __init__(self, words: Sequence[str], seconds: float) -> None:
        self._words = words
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, body: bytes) -> None:
        """Run the command to its end. Raises NotSent after the time-out, and if its exit code is not 0."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
        with subprocess.Popen(  # noqa: S603  the operator's own command, from the settings
            self._words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        ) as self._process:
            try:
                self._process.communicate(body, timeout=self._seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise NotSent(f"it did not end within {self._seconds:g} seconds") from None
        if self._process.returncode != 0:
            raise NotSent(f"its exit code was {self._process.returncode}")

    def kill(self) -> None:
        """Kill the command and its children, if it runs."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _name(notice: Notice) -> dict[str, str]:
    return {"alarm": notice.alarm, "subject": notice.subject, "state": notice.state}
