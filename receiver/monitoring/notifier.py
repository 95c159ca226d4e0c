"""Notices that an alarm began or ended, through all configured channels: a URL, a command, mail.

Each channel has a thread that sends one notice after the other, in order, so a channel that hangs holds up neither the others nor
the service.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from time import monotonic
from typing import NamedTuple

import structlog

from receiver.access.bearer import Secret
from receiver.domain.notices import Notice, NoticeFormat
from receiver.monitoring.mail import Mailer, MailRoute
from receiver.monitoring.notice_channels import Command, Poster, explain_error

_MAX_WAITING = 100

_log = structlog.get_logger()


class NotifierTimings(NamedTuple):
    """Times of the notifier.

    pauses_seconds: before the second attempt, the third and so on
    url_seconds: for a whole request
    command_seconds: for the command
    mail_seconds: for a mail
    closing_seconds: for the notices that are left when the service stops
    """

    pauses_seconds: tuple[float, ...] = (2.0, 10.0)
    url_seconds: float = 5.0
    command_seconds: float = 10.0
    mail_seconds: float = 10.0
    closing_seconds: float = 5.0


NOTIFIER_TIMINGS = NotifierTimings()

Send = Callable[[Notice], str]
"""Send a notice and return what came back, in words. Raises if it was not sent."""


class ChannelResult(NamedTuple):
    """The result of one attempt: the channel, the format of its notices, whether it was sent, and what came back."""

    channel: str
    format: str
    sent: bool
    answer: str


def _ignore(_notice: Notice) -> None:
    """Do nothing with a settled notice."""


class AlarmNotifier:
    """Sends notices through all configured channels. Never raises and never waits.

    Without a `url_format`, the host of the URL decides.
    """

    def __init__(
        self,
        url: Secret | None,
        command: Sequence[str],
        timings: NotifierTimings = NOTIFIER_TIMINGS,
        url_format: NoticeFormat | None = None,
        mail: MailRoute | None = None,
    ) -> None:
        self._on_settled: Callable[[Notice], None] = _ignore
        self._left: Counter[Notice] = Counter()
        self._lock = threading.Lock()
        self._command = Command(command, timings.command_seconds)
        self._closing_seconds = timings.closing_seconds
        self._workers: list[NotifierChannel] = []
        if url is not None:
            poster = Poster(url, timings.url_seconds, url_format)
            self._add("url", poster.form, poster, timings)
        if command:
            self._add("command", "json", self._command, timings)
        if mail is not None:
            self._add("mail", "text", Mailer(mail, timings.mail_seconds), timings)

    def _add(self, name: str, form: str, send: Send, timings: NotifierTimings) -> None:
        self._workers.append(NotifierChannel(name, form, send, timings.pauses_seconds, self._settle))

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

    def channels(self) -> list[tuple[str, str]]:
        """Return the name of each channel and the format of its notices."""
        return [worker.kind for worker in self._workers]

    def take_failures(self) -> dict[str, bool | None]:
        """Return of each channel whether its last notice failed. A success is returned once, then None: nothing new is known."""
        return {worker.kind[0]: worker.take_failure() for worker in self._workers}

    def test(self, notice: Notice) -> list[ChannelResult]:
        """Send a notice through each channel once, at the same time, and return the results. It takes as long as the slowest."""
        if not self._workers:
            return []
        with ThreadPoolExecutor(len(self._workers), "notifier test") as threads:
            return list(threads.map(lambda worker: worker.send_once(notice), self._workers))

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

    def __init__(self, name: str, form: str, send: Send, pauses: Sequence[float], settle: Callable[[Notice], None]) -> None:
        self._settle = settle
        self._name = name
        self._form = form
        self._send = send
        self._pauses = pauses
        self._failed: bool | None = None
        self._waiting: SimpleQueue[Notice | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"notifier {name}", daemon=True)

    @property
    def kind(self) -> tuple[str, str]:
        """Return the name and the format of the notices."""
        return self._name, self._form

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def put(self, notice: Notice) -> None:
        """Queue a notice, unless too many are waiting."""
        if self._waiting.qsize() < _MAX_WAITING:
            self._waiting.put(notice)
        else:
            self._fail(notice, "too many are waiting")

    def send_once(self, notice: Notice) -> ChannelResult:
        """Try once, in the calling thread, and return the result. Never raises."""
        try:
            answer = self._send(notice)
        except Exception as error:
            return ChannelResult(self._name, self._form, sent=False, answer=explain_error(error))
        self._failed = False
        return ChannelResult(self._name, self._form, sent=True, answer=answer)

    def take_failure(self) -> bool | None:
        """Return whether the last notice failed. A success is returned once."""
        failed = self._failed
        if not failed:
            self._failed = None
        return failed

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
        for pause in (*self._pauses, None):
            result = self.send_once(notice)
            if result.sent:
                _log.info("alarm_sent", by=self._name, **_name(notice))
                self._settle(notice)
                return
            if pause is None or self._stopping.wait(pause):
                break
        self._fail(notice, result.answer)
        if not self._stopping.is_set():  # otherwise the next process tries
            self._settle(notice)

    def _fail(self, notice: Notice, cause: str) -> None:
        self._failed = True
        if not self._abandoned.is_set():  # logged already, once for all
            _log.error("alarm_not_sent", by=self._name, **_name(notice), cause=cause)


def _name(notice: Notice) -> dict[str, str]:
    return {"alarm": notice.alarm, "subject": notice.subject, "state": notice.state}
