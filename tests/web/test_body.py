"""Bodies are bounded in size and in their total memory, and memory is released on every path."""

import asyncio
from collections.abc import Iterable, MutableMapping
from typing import Any

import pytest

from receiver.errors import BodyIncomplete, BodyTooLarge, Busy
from receiver.web.body import BodyReader, MemoryBudget
from tests.harness.table import each_row

LIMIT, ROOM = 10, 25
DISCONNECT = {"type": "http.disconnect"}


class Pieces:
    """A `receive` that gives pieces, then what comes at the end; it knows how many were asked for."""

    def __init__(self, *pieces: bytes, broken: bool = False) -> None:
        last = len(pieces) - 1
        self._messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": piece, "more_body": broken or place < last} for place, piece in enumerate(pieces)
        ]
        self._messages += [DISCONNECT]
        self.asked = 0

    async def receive(self) -> MutableMapping[str, Any]:
        self.asked += 1
        return self._messages[self.asked - 1]


def make_reader(room: int = ROOM) -> tuple[BodyReader, MemoryBudget]:
    memory = MemoryBudget(room)
    return BodyReader(LIMIT, memory), memory


def read(reader: BodyReader, connection: Pieces, declared: bytes | None = None) -> bytes:
    return asyncio.run(reader.read(connection.receive, declared))


def has_room(memory: MemoryBudget, size: int = ROOM) -> bool:
    """Tell whether exactly `size` bytes are free."""
    memory.reserve(size)
    with pytest.raises(Busy):
        memory.reserve(1)
    memory.release(size)
    return True


@each_row(
    ("pieces", "declared"),
    [
        pytest.param([b"0123456789"], b"10", id="as large as may be"),
        pytest.param([b"0123456789"], None, id="chunked"),
        pytest.param([b"01234", b"56789"], b"10", id="two pieces"),
        pytest.param([b"0123456789", b""], None, id="an empty last piece"),
        pytest.param([b"", b"", b"x"], None, id="empty first pieces"),
        pytest.param([b""], b"0", id="empty"),
        pytest.param([b""], None, id="empty, nothing declared"),
        pytest.param([b"x"], b"0000000001", id="declared with zeros before"),
    ],
)
def test_a_body_within_the_limit_is_read_whole_and_stays_reserved(pieces: list[bytes], declared: bytes | None) -> None:
    reader, memory = make_reader()
    body = read(reader, Pieces(*pieces), declared)
    assert body == b"".join(pieces)
    assert has_room(memory, ROOM - len(body))
    reader.release(body)
    assert has_room(memory)


@each_row(
    "declared",
    [b"11", b"99999999999999999999", b"9" * 5000, b"-1", b"+5", b"5.0", b"0x5", b"1e1", b"", b" 5", b"5, 5", b"\xd9\xa5"],
    ids=lambda declared: repr(declared)[:20],
)
def test_a_declared_size_over_the_limit_is_refused_before_anything_is_read(declared: bytes) -> None:
    reader, memory = make_reader()
    connection = Pieces(b"x")
    with pytest.raises(BodyTooLarge, match="at most 10 bytes"):
        read(reader, connection, declared)
    assert connection.asked == 0
    assert has_room(memory)


@each_row(
    ("pieces", "asked"),
    [
        pytest.param([b"0123456789x", b"y"], 1, id="the first piece is too large"),
        pytest.param([b"0123456789", b"x", b"y"], 2, id="the second one makes it too large"),
        pytest.param([b"0"] * 20, 11, id="byte by byte"),
    ],
)
@each_row("declared", [None, b"5"], ids=["chunked", "declared smaller"])
def test_a_counted_size_over_the_limit_is_refused_and_no_more_is_read(
    pieces: list[bytes], asked: int, declared: bytes | None
) -> None:
    reader, memory = make_reader()
    connection = Pieces(*pieces)
    with pytest.raises(BodyTooLarge) as refusal:
        read(reader, connection, declared)
    assert connection.asked == asked
    assert (b"connection", b"close") in refusal.value.headers
    assert has_room(memory)


@each_row("pieces", [[], [b""], [b"abc"], [b"abc", b"def"]], ids=len)
def test_a_connection_that_ends_early_gives_its_memory_back(pieces: list[bytes]) -> None:
    reader, memory = make_reader()
    with pytest.raises(BodyIncomplete):
        read(reader, Pieces(*pieces, broken=True))
    assert has_room(memory)


@each_row("pieces", [[b"012345"], [b"0123", b"45"], [b"01234", b"5"]], ids=["at once", "in the middle", "at the end"])
def test_a_body_without_room_is_503_with_retry_after_and_holds_no_memory(pieces: Iterable[bytes]) -> None:
    reader, memory = make_reader(room=5)
    with pytest.raises(Busy):
        read(reader, Pieces(*pieces))
    assert has_room(memory, 5)


def test_a_body_that_is_waited_for_in_vain_gives_its_memory_back() -> None:
    reader, memory = make_reader()

    async def give_up() -> None:
        pieces, waiting = [b"abc", b"def"], asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            if pieces:
                return {"type": "http.request", "body": pieces.pop(), "more_body": True}
            waiting.set()
            await asyncio.Event().wait()
            return DISCONNECT

        reading = asyncio.ensure_future(reader.read(receive, None))
        await waiting.wait()
        reading.cancel()
        await reading

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(give_up())
    assert has_room(memory)


def test_the_bodies_of_all_requests_share_the_memory() -> None:
    reader, memory = make_reader()
    bodies = [read(reader, Pieces(b"0123456789")) for _ in range(2)]
    with pytest.raises(Busy):
        read(reader, Pieces(b"0123456789"))
    reader.release(bodies.pop())
    assert read(reader, Pieces(b"0123456789")) == bodies.pop()
    assert has_room(memory, 5)
