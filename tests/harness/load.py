"""Concurrent requests."""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from threading import Barrier, Event, Lock
from typing import TypeVar

from tests.harness.service import Reply, Service, wait_until

_T = TypeVar("_T")


def together(calls: Sequence[Callable[[], _T]]) -> list[_T]:
    """Run all functions at once, each in its own thread, and return their results in order."""
    start = Barrier(len(calls))

    def run(call: Callable[[], _T]) -> _T:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def until_taken(post: Callable[[], Reply], refused: int = 503) -> Reply:
    """Post again as long as it is refused for the moment, as senders do; return the last answer."""
    answers: list[Reply] = []

    def is_taken() -> bool:
        answers.append(post())
        return answers[-1].status != refused

    wait_until(is_taken, f"the answer is another one than {refused}")
    return answers[-1]


def post_together(bodies: Sequence[bytes], *services: Service) -> list[Reply]:
    """Post all bodies at once, to the services in turn."""

    def post(service: Service, body: bytes) -> Reply:
        return service.post(body)

    return together(
        [lambda s=service, b=body: post(s, b) for service, body in zip(itertools.cycle(services), bodies, strict=False)]  # type: ignore[misc]
    )


class PostingThreads:
    """Threads that post without a pause until `stop`; `answered` has the bodies that were answered 2xx.

    `make_call` gives a body and what to remember of it. A connection that breaks is opened again; a call that it broke is
    forgotten.
    """

    def __init__(self, service: Service, make_call: Callable[[], tuple[bytes, Sequence[str]]], threads: int = 8) -> None:
        self.answered: list[str] = []
        self.refused: list[Reply] = []
        self._service = service
        self._make_call = make_call
        self._stopping = Event()
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(threads)
        self._running = [self._pool.submit(self._run) for _ in range(threads)]

    def stop(self) -> None:
        """Let the threads end and raise what any of them raised."""
        self._stopping.set()
        self._pool.shutdown()
        for thread in self._running:
            thread.result()

    def _run(self) -> None:
        while not self._stopping.is_set():
            connection = self._service.connect()
            try:
                while not self._stopping.is_set():
                    body, names = self._make_call()
                    self._note(self._service.post(body, connection=connection), names)
            except (OSError, HTTPException):
                self._stopping.wait(0.02)
            finally:
                connection.close()

    def _note(self, reply: Reply, names: Sequence[str]) -> None:
        with self._lock:
            if 200 <= reply.status < 300:
                self.answered.extend(names)
            else:
                self.refused.append(reply)
