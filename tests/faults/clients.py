"""Harmful clients beside real senders: slow, silent, without a token, and with malformed bodies."""

import resource
import shutil
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from threading import Event, Thread
from time import monotonic

from tests.faults.scenario import Lacking, Result, Scenario, Size
from tests.faults.verification import EVENTS, judge
from tests.harness import ship24
from tests.harness.load import together
from tests.harness.mutated_bodies import mutate
from tests.harness.service import SHIP24, TOKEN, Reply, Service, serving, wait_until
from tests.harness.traffic import Senders

_PAYLOADS = Path(__file__).parents[1] / "payloads"
_SHIIPP = ("/webhooks/shiipp/new-package", "/webhooks/shiipp/manifest-status")
_FLOODING = 8  # connections
_BURST = 100  # rejected deliveries that are recorded at once; after that one a second
_OWN_FILES = 300


# Idle and slow


def idle(directory: Path, size: Size) -> Result:
    """Most connections sent one request and stay open; of the rest some send nothing, and some a byte now and then."""
    _allow_files(size.connections + _OWN_FILES)
    if shutil.which("prlimit") is None:
        raise Lacking("there is no prlimit command (Debian package: util-linux)")
    url = f"sqlite:///{directory}/receiver.db"
    soft, hard = size.connections // 2, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    started_with = ("prlimit", f"--nofile={soft}:{hard}")  # as many systems do: the service has to take what it may
    timings = max(2.0, size.seconds / 4)
    with serving(directory, url, started_with, body_timeout_seconds=str(timings)) as service, ExitStack() as stack:
        kept = [stack.enter_context(_connect_and_call(service)) for _ in range(size.connections * 3 // 4)]
        silent = [stack.enter_context(service.socket()) for _ in range(size.connections // 8)]
        slow = [stack.enter_context(service.socket()) for _ in range(size.connections // 8)]
        with _dripping(slow), size.send_to(service) as traffic:
            traffic.wait_for_answers(int(size.seconds * 300))
            wait_until(lambda: all(map(_is_closed, silent + slow)), "an unfinished request is closed", 60)
            traffic.wait_for_answers(int(size.seconds * 300))
            assert not any(map(_is_closed, kept)), "a connection with a whole request stays open"
            assert set(traffic.statuses) == {200}
            return judge("2,000 idle and slow connections", traffic, url, None)


@contextmanager
def _connect_and_call(service: Service) -> Iterator[socket.socket]:
    """Give a connection that has sent a request at once, because a silent one is closed."""
    with service.socket() as connection:
        connection.sendall(f"HEAD {SHIP24} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        yield connection


@contextmanager
def _dripping(connections: Sequence[socket.socket]) -> Iterator[None]:
    """Let each connection send a request, one byte at a time, during the block."""
    call = (
        f"POST {SHIP24} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 1000\r\n\r\n".encode()
        + b" " * 1000
    )
    done = Event()

    def drip() -> None:
        for place in count():
            for connection in connections:
                with suppress(OSError):
                    connection.send(call[place % len(call)].to_bytes())
            if done.wait(0.05):
                return

    thread = Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _allow_files(number: int) -> None:
    """Let this process open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < number:
        raise Lacking(f"a process may open only {hard} files here")
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


# Without a token


def flood(directory: Path, size: Size) -> Result:
    """Calls without a token come as fast as they can; those with one are answered, and the disk does not fill."""
    url = f"sqlite:///{directory}/receiver.db"
    with serving(directory, url) as service, size.send_to(service) as traffic:
        began = monotonic()
        with _flooding(service) as heard:
            traffic.wait_for_answers(int(size.seconds * 300), seconds=60 + 3 * size.seconds)
            wait_until(lambda: sum(map(len, heard)) > 1.5 * _BURST, "more deliveries are rejected than are recorded")
        refused = sum(map(len, heard))
        assert set(chain(*heard)) == {401}
        assert set(traffic.statuses) == {200}
        result = judge("flood without a token", traffic, url, None, f"{refused:,} rejected beside them")
        recorded = "SELECT count(*) FROM deliveries WHERE outcome = 'refused'"
        others = "SELECT coalesce(sum(unrecorded), 0) FROM tallies WHERE span_seconds = 60 AND code = 'unauthorized'"
        wait_until(lambda: service.scalar(f"SELECT ({recorded}) + ({others})") == refused, "all others are counted")
        assert service.scalar(recorded) <= _BURST + (monotonic() - began) + 1
        return result


@contextmanager
def _flooding(service: Service) -> Iterator[list[list[int]]]:
    """Call without a token as long as the block lasts; give the statuses that each connection hears."""
    done = Event()
    heard: list[list[int]] = [[] for _ in range(_FLOODING)]

    def flood_from(statuses: list[int]) -> None:
        with closing(service.connect()) as connection:
            while not done.is_set():
                statuses.append(service.post(ship24.single(), token=None, connection=connection).status)

    with ThreadPoolExecutor(_FLOODING) as threads:
        flooding = [threads.submit(flood_from, statuses) for statuses in heard]
        try:
            yield heard
        finally:
            done.set()
    for each in flooding:
        each.result()


# Without sense


def mutated(directory: Path, size: Size) -> Result:
    """Malformed bodies beside good ones: each gets an error and is on record, byte for byte."""
    url = f"sqlite:///{directory}/receiver.db"
    bodies = _make_bodies(size.bodies)
    with serving(directory, url, shiipp_tokens=TOKEN) as service, Senders(service, senders=2) as traffic:
        parts = [bodies[place :: size.senders] for place in range(size.senders)]
        answers = together([lambda part=part: _post_all(service, part) for part in parts])  # type: ignore[misc]
        told = [pair for part in answers for pair in part]
        statuses = Counter(reply.status for reply, _ in told)
        assert set(statuses) <= {200, 400, 422}, statuses
        rows = service.rows("SELECT d.id, d.status, b.* FROM deliveries d JOIN bodies b ON b.delivery_id = d.id")
        held = {row["id"]: (row["status"], bytes(row["body"])) for row in rows}
        for reply, body in told:
            assert held[reply.json()["delivery_id"]] == (reply.status, body)
        assert set(traffic.statuses) == {200}
        note = ", ".join(f"{number:,} answered {status}" for status, number in sorted(statuses.items()))
        return judge("10,000 mutated bodies", traffic, url, None, note, without=EVENTS)


def _make_bodies(number: int) -> list[tuple[str, bytes]]:
    """Return paths and bodies, all payloads in turn."""
    files = sorted(_PAYLOADS.glob("*/*.json"))
    bodies = []
    for seed in range(number):
        file = files[seed % len(files)]
        path = SHIP24 if file.parent.name == "ship24" else _SHIIPP[seed % 2]
        bodies.append((path, mutate(seed, file.read_bytes())))
    return bodies


def _post_all(service: Service, bodies: Sequence[tuple[str, bytes]]) -> list[tuple[Reply, bytes]]:
    with closing(service.connect()) as connection:
        return [(service.post(body, path, connection=connection), body) for path, body in bodies]


SCENARIOS: dict[str, Scenario] = {
    "10,000 mutated bodies": mutated,
    "2,000 idle and slow connections": idle,
    "flood without a token": flood,
}
