"""Large requests are parsed in turns: no connection blocks the event loop."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from itertools import count

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from receiver.domain.records import Answer
from receiver.web.parsing import ParsingQueue
from receiver.web.protocol import BoundedProtocol
from receiver.web.responses import send_answer
from tests.harness.table import each_row

_SLICES = 10


class Turns:
    """Counts turns of the running loop, and what happens in each."""

    def __init__(self) -> None:
        self.done = Counter[int]()
        self._turn = 0
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._count)

    def note(self, amount: int = 1) -> None:
        self.done[self._turn] += amount

    def _count(self) -> None:
        self._turn += 1
        self._loop.call_soon(self._count)


def one_slice_a_turn() -> ParsingQueue:
    """Return a queue on whose clock a slice takes all the time of a turn."""
    ticks = count()
    return ParsingQueue(1.5, lambda: float(next(ticks)))


class SlicedConnection:
    """Has slices to parse, and writes down in whose turn each one was."""

    def __init__(self, name: str, queue: ParsingQueue, order: list[str], note: Callable[[], None]) -> None:
        self._name = name
        self._queue = queue
        self._order = order
        self._note = note
        self._left = _SLICES
        self.is_done = asyncio.Event()

    def parse(self) -> None:
        self._left -= 1
        self._order.append(self._name)
        self._note()
        self.wait()

    def wait(self) -> None:
        if self._left:
            self._queue.put(asyncio.get_running_loop(), self.parse)
        else:
            self.is_done.set()


async def _parse_all(names: str) -> tuple[str, Counter[int]]:
    turns, order, queue = Turns(), list[str](), one_slice_a_turn()
    connections = [SlicedConnection(name, queue, order, turns.note) for name in names]
    for connection in connections:
        connection.wait()
    for connection in connections:
        await connection.is_done.wait()
    return "".join(order), turns.done


def test_connections_take_turns_and_all_of_them_share_the_time_of_one_turn_of_the_loop() -> None:
    order, done = asyncio.run(_parse_all("abc"))
    assert order == "abc" * _SLICES
    assert max(done.values()) == 1


def _fail() -> None:
    raise ZeroDivisionError


async def _fail_one() -> str:
    order, queue, loop = list[str](), one_slice_a_turn(), asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, _context: order.append("failed"))
    queue.put(loop, _fail)
    connection = SlicedConnection("a", queue, order, lambda: None)
    connection.wait()
    await connection.is_done.wait()
    return " ".join(order)


def test_a_connection_that_fails_takes_nothing_from_the_others() -> None:
    assert asyncio.run(_fail_one()) == "failed" + " a" * _SLICES


async def _send(sent: bytes, connections: int) -> tuple[Counter[int], int]:
    """Return how many bytes were parsed in each turn of the loop, and how many requests were answered with 200."""
    turns, queue = Turns(), one_slice_a_turn()

    class Protocol(BoundedProtocol):
        request_timeout_seconds = 60.0
        parsing = queue

        def _feed(self, piece: bytes) -> int:
            turns.note(len(piece))
            return super()._feed(piece)

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await send_answer(send, Answer(200, b"{}"))

    config = uvicorn.Config(app, log_config=None)
    config.load()
    answers = await asyncio.gather(*(_exchange(Protocol(config, ServerState(), {}), sent) for _ in range(connections)))
    return turns.done, sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)


async def _exchange(protocol: BoundedProtocol, sent: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    await loop.connect_accepted_socket(lambda: protocol, ours)
    with theirs:
        theirs.setblocking(False)
        sending = asyncio.create_task(loop.sock_sendall(theirs, sent))
        answer = await loop.sock_recv(theirs, 65536)
        await sending
    return answer


_CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
_LARGE = {
    "many header lines": b"GET / HTTP/1.1\r\nConnection: close\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
    "chunks of one byte": _CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n",
    "a large body": b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n" + b" " * 1_000_000,
}


@each_row("sent", _LARGE.values(), ids=_LARGE.keys())
def test_of_large_requests_little_is_parsed_in_one_turn_of_the_loop(sent: bytes) -> None:
    parsed, answered = asyncio.run(_send(sent, connections=4))
    assert answered == 4
    assert sum(parsed.values()) == 4 * len(sent)
    assert max(parsed.values()) <= 5 * 4096  # what four have just sent, and one slice of what waits
