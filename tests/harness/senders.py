"""Senders on a machine of their own: they call through the proxy, and repeat a call until it is answered 2xx, as vendors do."""

import http.client
import json
import ssl
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Lock
from typing import NamedTuple

from tests.harness import ship24
from tests.harness.machines import Machine
from tests.harness.service import SHIP24, TOKEN, Reply, bearer, wait_until

_SECONDS = 15  # as long as Ship24 waits
_PAUSE_SECONDS = 0.05
_START = datetime(2025, 3, 1)  # noqa: DTZ001  a courier's time, without a zone
_TRACKERS = 5  # of each sender


class Address(NamedTuple):
    """Where calls go; with the certificate that is expected there, over TLS."""

    host: str
    port: int
    certificate: Path | None = None

    def connect(self, source: str) -> http.client.HTTPConnection:
        """Return a connection that comes from `source`; it connects where it is used first."""
        given = (self.host, self.port)
        if self.certificate is None:
            return http.client.HTTPConnection(*given, timeout=_SECONDS, source_address=(source, 0))
        trust = ssl.create_default_context(cafile=str(self.certificate))
        return http.client.HTTPSConnection(*given, timeout=_SECONDS, source_address=(source, 0), context=trust)


def call(
    machine: Machine,
    source: str,
    address: Address,
    body: bytes | None,
    path: str = SHIP24,
    headers: Sequence[tuple[str, str]] = (),
    token: str = TOKEN,
) -> Reply:
    """Make one call from a machine, from one of its addresses; without a body a GET. Headers may repeat."""
    connection = address.connect(source)
    try:
        machine.do(connection.connect)
        return _exchange(connection, body, path, [*bearer(token), *headers])
    finally:
        connection.close()


def _exchange(connection: http.client.HTTPConnection, body: bytes | None, path: str, headers: Sequence[tuple[str, str]]) -> Reply:
    connection.putrequest("GET" if body is None else "POST", path, skip_accept_encoding=True)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


class Senders:
    """One sender for each of the addresses `sources`, with trackers of its own: event after event, every fourth one twice."""

    def __init__(self, machine: Machine, sources: Sequence[str], address: Address) -> None:
        self.outcomes: dict[str, list[str]] = defaultdict(list)
        """What was answered 2xx, by message, in the order of the answers."""
        self.failures: list[str] = []
        """What else became of a call: a status, or how its connection broke."""
        self.moves: Counter[str] = Counter()
        """How many events of each tracker were answered 2xx."""
        self.latest: dict[str, str] = {}
        """The last message of each tracker that was."""
        self._address = address
        self._lock = Lock()
        self._stopping = Event()
        self._pool = machine.threads(len(sources))
        self._running = [self._pool.submit(self._run, number, source) for number, source in enumerate(sources)]

    def __enter__(self) -> "Senders":
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._pool.shutdown()

    def stop(self) -> None:
        """Let each sender finish its call, and raise what any of them raised."""
        self._stopping.set()
        for sender in self._running:
            sender.result(60)

    def wait_for(self, messages: int) -> None:
        """Wait until so many more messages were answered 2xx."""
        enough = len(self.outcomes) + messages
        wait_until(lambda: len(self.outcomes) >= enough or self._ended(), f"{messages} messages are answered")
        assert not self._ended(), [sender.exception() for sender in self._running if sender.done()]

    def _ended(self) -> bool:
        return any(sender.done() for sender in self._running)

    def _run(self, number: int, source: str) -> None:
        connection = self._address.connect(source)
        place = 0
        while not self._stopping.is_set():
            tracker, message = f"tracker-{number}-{place % _TRACKERS}", f"message-{number}-{place}"
            occurrence = (_START + timedelta(minutes=place)).isoformat()
            body = ship24.single(message, tracker_id=tracker, events=[ship24.event(f"event-{number}-{place}", occurrence)])
            for _ in range(2 if place % 4 == 3 else 1):
                self._send(connection, message, body)
            with self._lock:
                self.moves[tracker] += 1
                self.latest[tracker] = message
            place += 1
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, message: str, body: bytes) -> None:
        while True:
            try:
                reply = _exchange(connection, body, SHIP24, bearer(TOKEN))
            except (OSError, http.client.HTTPException) as error:
                connection.close()  # the next call opens it again
                self._fail(type(error).__name__)
                continue
            if 200 <= reply.status < 300:
                (told,) = json.loads(reply.body)["messages"]
                with self._lock:
                    self.outcomes[message].append(told["outcome"])
                return
            self._fail(str(reply.status))

    def _fail(self, how: str) -> None:
        with self._lock:
            self.failures.append(how)
        if self._stopping.wait(_PAUSE_SECONDS) and len(self.failures) > 1000:
            raise TimeoutError(f"a call is never answered 2xx: {Counter(self.failures)}")
