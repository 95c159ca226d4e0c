"""The wire between the service and its writing process: records arrive whole, in pieces of any size."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.records import Answer, Delivery, Event, Message, Snapshot, Submission, UnreadDelivery
from receiver.domain.replays import ReplayOptions
from receiver.errors import Busy, InvalidJson, ReceiverError, StorageUnavailable
from receiver.writer.commands.deliveries import CountUnrecorded, Replay, TrimRefused
from receiver.writer.wire import Batch, Execute, Keep, Read, Replies, Request, Result, Unpacker, pack
from tests.harness.table import each_row

DELIVERY = Delivery("d", "ship24", "tracking", "POST", "/", 1, "::1", None, "a", None, (("host", "x"),), b"\x00\xff{}")
EVENT = Event("e", "2024-05-16", 1, "Sorted", None, None, None, None, None, b"{}", "x")
MESSAGE = Message(0, b"{}", "x", "m", "t", snapshot=Snapshot("AB", None, None, "{}"), events=(EVENT,))
TALK: list[Request | Replies | Result] = [
    Keep(1, Submission(DELIVERY, (MESSAGE,))),
    Execute(2, TrimRefused()),
    Keep(3, Submission(DELIVERY._replace(body=b"x" * 1000))),
    Execute(4, CountUnrecorded({("ship24", "failed", "busy"): 3}, 60_000_000)),
    Replies(
        healthy=True, answers=[(1, Answer(200, b"{}", ((b"a", b"b"),)))], batch=Batch(1, 0.5, {("ship24", "applied"): 2}, {})
    ),
    Result(2, 7),
    Replies(healthy=False, answers=[], batch=Batch(1, 0.5, {("ship24", "applied"): 2}, {"shiipp": 1}), lines_dropped=3),
    Read(5, UnreadDelivery(DELIVERY, ("gzip",))),
]
STREAM = b"".join(piece for message in TALK for piece in pack(message))


def receive(unpacker: Unpacker, *pieces: bytes) -> list[Any]:
    return [message for piece in pieces for message in unpacker.feed(piece)]


@each_row("cut", range(0, len(STREAM) + 1, 7))
def test_messages_survive_a_cut_anywhere(cut: int) -> None:
    assert receive(Unpacker(), STREAM[:cut], STREAM[cut:]) == TALK


@given(st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted))
def test_messages_survive_any_cuts(cuts: list[int]) -> None:
    edges = [0, *cuts, len(STREAM)]
    assert receive(Unpacker(), *(STREAM[start:end] for start, end in pairwise(edges))) == TALK


def test_messages_survive_byte_by_byte() -> None:
    assert receive(Unpacker(), *(bytes([byte]) for byte in STREAM)) == TALK


def test_a_message_is_given_as_soon_as_its_last_byte_is_there() -> None:
    unpacker, first = Unpacker(), b"".join(pack(TALK[0]))
    assert receive(unpacker, first[:-1]) == []
    assert receive(unpacker, first[-1:]) == TALK[:1]


def test_nothing_is_given_twice() -> None:
    unpacker = Unpacker()
    assert receive(unpacker, STREAM) == TALK
    assert receive(unpacker, b"", STREAM) == TALK


def test_records_arrive_with_their_classes() -> None:
    keep, do, replies = receive(Unpacker(), *(piece for number in (0, 1, 4) for piece in pack(TALK[number])))
    (message,) = keep.submission.messages
    assert [type(record) for record in (keep, keep.submission, keep.submission.delivery)] == [Keep, Submission, Delivery]
    assert [type(record) for record in (message, message.snapshot, *message.events)] == [Message, Snapshot, Event]
    assert [type(record) for record in (do, replies, replies.answers[0][1])] == [Execute, Replies, Answer]


def test_a_message_without_a_snapshot_arrives_without_one() -> None:
    bare = Keep(1, Submission(DELIVERY, (MESSAGE._replace(snapshot=None, events=()),), served=7))
    assert receive(Unpacker(), *pack(bare)) == [bare]


@each_row("event", [EVENT._replace(status="\ud83d"), EVENT._replace(order=2**70)], ids=["surrogate", "integer"])
def test_what_no_packed_message_can_hold_arrives_too(event: Event) -> None:
    odd = Keep(1, Submission(DELIVERY, (MESSAGE._replace(events=(event,)),)))
    assert receive(Unpacker(), *pack(odd)) == [odd]


@each_row("error", [Busy("Later."), StorageUnavailable("Away."), InvalidJson("Expected JSON.")], ids=repr)
def test_an_error_arrives_with_its_class_and_words(error: ReceiverError) -> None:
    (result, keep) = receive(Unpacker(), *pack(Result(9, error)), *pack(Keep(9, Submission(DELIVERY, error=error))))
    for arrived in (result.value, keep.submission.error):
        assert (type(arrived), arrived.message) == (type(error), error.message)


@each_row("message", [lambda unread: Read(5, unread), lambda unread: Execute(6, Replay(unread, ReplayOptions(1)))])
def test_a_large_body_is_handed_on_without_a_copy(message: Callable[[UnreadDelivery], Read | Execute]) -> None:
    body = b"x" * 5_000_000
    sent = message(UnreadDelivery(DELIVERY._replace(body=body)))
    pieces = pack(sent)
    assert any(piece is body for piece in pieces)
    assert sum(map(len, pieces)) < len(body) + 1000
    assert receive(Unpacker(), *pieces) == [sent]
