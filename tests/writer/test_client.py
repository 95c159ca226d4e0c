"""The writer's client when the writing process is gone or a reply cannot be read: no request waits for ever."""

import asyncio
import socket

import pytest

from receiver.errors import StorageUnavailable
from receiver.writer.client import WriterClient
from receiver.writer.commands.deliveries import TrimRefused
from receiver.writer.counters import Counters
from receiver.writer.wire import Replies, Result, pack
from tests.harness import ship24
from tests.harness.service import DEADLINE_SECONDS
from tests.harness.store import submission

_FOR_EVER = 3600.0  # what the desk would wait for a reply


async def _lose(writer_client: WriterClient, lost: asyncio.Event, ours: socket.socket, theirs: socket.socket) -> None:
    await writer_client.open(ours)
    theirs.close()
    await asyncio.wait_for(lost.wait(), DEADLINE_SECONDS)


async def _use_and_close() -> tuple[int, str]:
    ours, theirs = socket.socketpair()
    lost = asyncio.Event()
    writer_client = WriterClient(10, _FOR_EVER, lost.set, Counters())
    await _lose(writer_client, lost, ours, theirs)
    call = submission(ship24.single())
    answer = await asyncio.wait_for(writer_client.store(call.delivery, lambda: call), DEADLINE_SECONDS)
    with pytest.raises(StorageUnavailable) as refused:
        await asyncio.wait_for(writer_client.do(TrimRefused()), DEADLINE_SECONDS)
    await asyncio.wait_for(writer_client.close(), DEADLINE_SECONDS)  # there is a refused call to count, and nobody to tell
    return answer.status, refused.value.message


async def _fail_to_read_one() -> dict[str, bool]:
    ours, theirs = socket.socketpair()
    writer_client = WriterClient(10, 0.01, lambda: None, Counters())
    await writer_client.open(ours)
    with pytest.raises(ZeroDivisionError):
        await writer_client.store(submission(ship24.single()).delivery, lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(StorageUnavailable):
        await writer_client.do(TrimRefused())  # nobody replies: it ends when the call before it would have been late
    health = writer_client.health()
    await writer_client.close()
    theirs.close()
    return health


def test_a_call_that_could_not_be_read_is_not_late_for_ever() -> None:
    assert asyncio.run(_fail_to_read_one()) == {"writer": True, "queue": True}


def test_after_the_loss_of_the_writing_process_nobody_waits_for_it() -> None:
    status, message = asyncio.run(_use_and_close())
    assert status == 503
    assert "restarts" in message


async def _take_reply(replies: Replies) -> Counters:
    ours, theirs = socket.socketpair()
    counters = Counters()
    writer_client = WriterClient(10, _FOR_EVER, lambda: None, counters)
    await writer_client.open(ours)
    order = asyncio.create_task(writer_client.do(TrimRefused()))
    theirs.sendall(b"".join([*pack(replies), *pack(Result(1, None))]))
    await asyncio.wait_for(order, DEADLINE_SECONDS)
    await writer_client.close()
    theirs.close()
    return counters


def test_the_log_lines_that_the_writing_process_has_dropped_are_known_here() -> None:
    replies = Replies(healthy=True, answers=[], lines_dropped=3)
    assert asyncio.run(_take_reply(replies)).writer_lines_dropped == 3
