"""Senders that retry as Ship24 does and record all they sent, for comparison with the database."""

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from itertools import count
from threading import Event, Lock
from time import monotonic
from typing import Any, NamedTuple, Protocol

import orjson

from receiver.testkit.http import HttpReply
from receiver.testkit.ship24 import TIMEOUT_SECONDS, is_success
from tests.harness import ship24
from tests.harness.service import SHIP24, TOKEN, wait_until

_PAUSE_SECONDS = 0.05  # before a delivery is repeated
_GROUP = 100  # messages that one answer lists
_HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}


class SentBody(NamedTuple):
    """A body, and the ids of the messages in it."""

    body: bytes
    names: tuple[str, ...]


class NewBodies:
    """Makes new deliveries of one to five messages with one event each, on few trackers.

    The events of a tracker come in another order than they happened; `newest` holds the last of each, `items` every message.
    """

    def __init__(self, start: datetime = datetime(2025, 3, 1, tzinfo=UTC), trackers: int = 40) -> None:
        self.items: dict[str, ship24.Item] = {}
        self.newest: dict[str, tuple[str, str]] = {}
        self._start = start.replace(tzinfo=None, microsecond=0)
        self._trackers = trackers
        self._numbers = count()
        self._sizes = count()

    def make(self) -> SentBody:
        """Return the next delivery. For one thread at a time."""
        items = [self._make_item(next(self._numbers)) for _ in range(next(self._sizes) % 5 + 1)]
        return SentBody(ship24.body(*items), tuple(item["metadata"]["messageId"] for item in items))

    def _make_item(self, number: int) -> ship24.Item:
        name, tracker = f"m-{number}", f"t-{number % self._trackers}"
        minutes = (number // self._trackers) ^ (number % 4)
        occurrence = (self._start + timedelta(minutes=minutes)).isoformat()
        self.newest[tracker] = max(self.newest.get(tracker, ("", "")), (occurrence, f"e-{name}"))
        self.items[name] = ship24.item(name, tracker, [ship24.event(f"e-{name}", occurrence)])
        return self.items[name]

    def regrouped(self) -> Iterator[SentBody]:
        """Give every message again, in large groups."""
        names = list(self.items)
        for start in range(0, len(names), _GROUP):
            group = tuple(names[start : start + _GROUP])
            yield SentBody(ship24.body(*(self.items[name] for name in group)), group)


class Connectable(Protocol):
    """An entry for requests: a service, or a proxy in front of it."""

    def connect(self) -> HTTPConnection: ...


class SenderConnection:
    """One connection to one of several entries; when it breaks, the next request opens one to the next entry."""

    def __init__(self, services: tuple[Connectable, ...], place: int) -> None:
        self._services = services
        self._place = place
        self._connection: HTTPConnection | None = None

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer. Raises OSError or HTTPException."""
        if self._connection is None:
            self._connection = self._services[self._place % len(self._services)].connect()
            self._connection.timeout = TIMEOUT_SECONDS
        try:
            self._connection.request("POST", SHIP24, body, _HEADERS)
            response = self._connection.getresponse()
            return response.status, response.read()
        except BaseException:
            self.close()
            self._place += 1
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Senders:
    """Threads that send until `stop`, each with a pause after every delivery if one is given.

    Without a pause they take all the processor time that there is as long as a test waits for something else.

    Every fourth call is sent twice at the same time. What Ship24 takes for a failure is sent again until it succeeds. `sent` and
    `answered` count messages, copies and repetitions too.
    """

    def __init__(
        self, *services: Connectable, senders: int = 8, parcels: NewBodies | None = None, pause_seconds: float = 0.0
    ) -> None:
        self.parcels = parcels or NewBodies()
        self.sent = 0
        self.answered = 0
        self.statuses: Counter[int] = Counter()
        """Number of answers by status; 0 means no answer."""
        self.kept: dict[str, SentBody] = {}
        """What was answered 2xx, by the id of the delivery."""
        self.effects: Counter[str] = Counter()
        """How often the answers said of a message that it was not a duplicate."""
        self._services = services
        self._pause_seconds = pause_seconds
        self._calls = 0
        self._copies: deque[SentBody] = deque()
        self._unanswered: list[SentBody] = []
        self._times: list[float] = []
        self._refused = [0] * senders
        self._failed_in_a_row = 0
        self._stopping = Event()
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(senders)
        self._running = [self._pool.submit(self._run, place) for place in range(senders)]

    def __enter__(self) -> "Senders":
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._pool.shutdown()

    def stop(self) -> None:
        """Let the threads end and raise what any of them raised."""
        self._stopping.set()
        self._pool.shutdown()
        for thread in self._running:
            thread.result()

    def wait_for_answers(self, messages: int, seconds: float = 60.0) -> None:
        """Wait until so many more messages are answered 2xx."""
        enough = self.answered + messages
        wait_until(lambda: self.answered >= enough, f"{messages} messages are answered", seconds)

    def wait_for_refusals(self, calls: int = 1) -> None:
        """Wait until so many more deliveries are not answered 2xx."""
        enough = sum(self._refused) + calls
        wait_until(lambda: sum(self._refused) >= enough, f"{calls} calls fail")

    def wait_until_all_are_refused(self) -> None:
        """Wait until each sender has failed once more: what is answered 2xx after that was sent after this was asked."""
        before = list(self._refused)
        wait_until(lambda: all(now > then for now, then in zip(self._refused, before, strict=True)), "every sender fails")

    def wait_until_nothing_is_kept(self, calls: int = 200) -> None:
        """Wait until so many deliveries in a row are not answered 2xx."""
        wait_until(lambda: self._failed_in_a_row >= calls, f"{calls} calls in a row fail", 120)

    def is_answered_after(self, moment: float) -> bool:
        """Tell whether there was a 2xx after a moment (of `time.monotonic`)."""
        return bool(self._times) and self._times[-1] > moment

    def recovery_after(self, moment: float) -> float:
        """Wait for the first 2xx after a moment, and return how long it took."""
        wait_until(lambda: self.is_answered_after(moment), "calls are answered again")
        with self._lock:
            return next(time for time in self._times if time > moment) - moment

    def settle(self) -> set[str]:
        """Stop, send what is not answered until it is, then ask for everything again, in other groups.

        Returns the messages that were no duplicates then: what was answered 2xx before was not there.
        """
        self.stop()
        sender = SenderConnection(self._services, 0)
        for call in self._unanswered:
            wait_until(lambda c=call: self._send(sender, c), "what was left is answered")  # type: ignore[misc]
        self._unanswered.clear()
        strangers: set[str] = set()
        for call in self.parcels.regrouped():
            answers: list[dict[str, Any]] = []
            wait_until(lambda c=call, a=answers: self._send(sender, c, a), "what was kept is answered again")  # type: ignore[misc]
            strangers |= {
                told["message_id"] for told in answers if told != {"message_id": told["message_id"], "outcome": "duplicate"}
            }
        sender.close()
        return strangers

    def _run(self, place: int) -> None:
        sender = SenderConnection(self._services, place)
        while not self._stopping.is_set():
            call = self._next()
            while not self._send(sender, call):
                self._refused[place] += 1
                if self._stopping.wait(_PAUSE_SECONDS):
                    with self._lock:
                        self._unanswered.append(call)
                    break
            if self._pause_seconds:
                self._stopping.wait(self._pause_seconds)
        sender.close()

    def _next(self) -> SentBody:
        with self._lock:
            if self._copies:
                return self._copies.popleft()
            call = self.parcels.make()
            self._calls += 1
            if self._calls % 4 == 0:
                self._copies.append(call)
            return call

    def _send(self, sender: SenderConnection, call: SentBody, told: list[dict[str, Any]] | None = None) -> bool:
        """Send a delivery and note the result; return whether Ship24 takes the answer for success."""
        sent = len(call.names)
        try:
            status, content = sender.post(call.body)
        except ConnectionRefusedError:
            status, content, sent = 0, b"", 0
        except (OSError, HTTPException):
            status, content = 0, b""
        answer = orjson.loads(content) if is_success(HttpReply(status, body=content)) else None
        with self._lock:
            self.sent += sent
            self.statuses[status] += 1
            self._failed_in_a_row = 0 if answer is not None else self._failed_in_a_row + 1
            if answer is not None:
                self._times.append(monotonic())
                self._note(call, answer)
                if told is not None:
                    told += answer["messages"]
        return answer is not None

    def _note(self, call: SentBody, answer: dict[str, Any]) -> None:
        self.answered += len(call.names)
        self.kept[answer["delivery_id"]] = call
        assert [told["message_id"] for told in answer["messages"]] == list(call.names), answer
        self.effects.update(told["message_id"] for told in answer["messages"] if told["outcome"] != "duplicate")
