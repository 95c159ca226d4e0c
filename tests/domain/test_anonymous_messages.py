"""Messages of senders without ids and without clocks: what is the same message, and whose details are kept."""

from collections.abc import Sequence
from typing import Any

from receiver.clock import from_micros
from receiver.domain.batch import BatchState
from receiver.domain.records import Delivery, Event, Link, Message, Snapshot
from receiver.domain.rows import LinkRow
from tests.domain.test_batch import KEY, RECEIVED_AT, T1, T2, event, make_batch_state, message, state, words
from tests.harness.table import each_row

HOUR = 3_600_000_000
OLD, NEW = Snapshot("AB12", None, None, '{"n":1}'), Snapshot("AB12", None, "REF", '{"n":2}')


def anonymous(single: Event) -> Message:
    """Return an item that is one event: both have its content."""
    return message(None, single, is_anonymous=True, generated_at=None, digest=single.digest)


def timed(snapshot: Snapshot | None, *events: Event, **fields: Any) -> Message:
    """Return a message that has an id, from a sender without a clock."""
    return message("m", *events, **{"snapshot": snapshot, "generated_at": None} | fields)


def decide(batch_state: BatchState, *messages: Message, number: int = 1, at: int = RECEIVED_AT) -> list[tuple[str | None, str]]:
    """Return the id and the verdict of each message of one delivery."""
    delivery = Delivery(f"d{number}", "ship24", "tracking", "POST", "/", at, None, None, None, None, (), b"")
    receipt = batch_state.decide(delivery, [m._replace(position=place) for place, m in enumerate(messages)])
    return [(message_id, words([verdict])[0]) for message_id, verdict in receipt.messages]


def test_an_anonymous_message_has_the_name_of_its_delivery_until_its_content_comes_again() -> None:
    batch_state = make_batch_state()
    first, second = anonymous(event("", T1)), anonymous(event("", T2))
    assert decide(batch_state, first, second) == [("d1:0", "applied"), ("d1:1", "applied")]
    assert decide(batch_state, second, first, number=2) == [("d1:1", "duplicate"), ("d2:1", "stale older")]
    assert {row.event_id for row in batch_state.timelines.new.values()} == {"d1:0", "d1:1", "d2:1"}


def test_an_anonymous_message_is_compared_with_the_stored_state() -> None:
    stored, batch_state = make_batch_state(), make_batch_state()
    parcel = anonymous(event("", T1))
    decide(stored, parcel)
    batch_state.trackers[KEY] = state(stored)
    assert decide(batch_state, parcel, number=2) == [("d1:0", "duplicate")]
    assert (state(batch_state), batch_state.messages.new) == (state(stored), {})
    elsewhere = parcel._replace(tracker_id="U")
    assert decide(batch_state, elsewhere, number=3) == [("d3:0", "applied")]


def test_a_copy_without_a_clock_brings_its_details_and_nothing_else() -> None:
    batch_state = make_batch_state()
    old, new = timed(OLD, event("a", T1)), timed(NEW, event("a", T1), event("b", T2))
    assert decide(batch_state, old, new, new, old) == [
        *(("m", "applied"), ("m", "duplicate content_differs"), ("m", "duplicate"), ("m", "duplicate content_differs")),
    ]
    assert (state(batch_state).shipment, state(batch_state).latest_event_id) == (OLD.shipment, "a")
    assert decide(batch_state, old, number=2) == [("m", "duplicate")]


@each_row(
    "copy",
    [
        timed(NEW, event("a", T1), tracker_id="U"),
        timed(NEW, event("a", T1), generated_at=RECEIVED_AT),
        timed(NEW, event("a", "2999-01-01")),
        timed(NEW, event("a", T1), event("b", "soon")),
        timed(None, event("a", T1)),
    ],
    ids=["of another tracker", "with a clock", "implausible", "with a flawed event", "without details"],
)
def test_another_copy_brings_no_details(copy: Message) -> None:
    batch_state = make_batch_state()
    assert decide(batch_state, timed(OLD, event("a", T1)), copy)[1] == ("m", "duplicate content_differs")
    assert (state(batch_state).shipment, set(batch_state.trackers)) == (OLD.shipment, {KEY})


@each_row(
    ("ahead", "kept"),
    [(0, NEW), (48 * HOUR, NEW), (48 * HOUR + 1, OLD)],
)
def test_a_clock_too_far_ahead_counts_as_absent(ahead: int, kept: Snapshot) -> None:
    batch_state = make_batch_state()
    early, late = (
        message(name, snapshot=snapshot, generated_at=at)
        for name, snapshot, at in (("b", OLD, 1), ("a", NEW, RECEIVED_AT + ahead))
    )
    decide(batch_state, early, late)
    assert state(batch_state).shipment == kept.shipment


@each_row("time", [None, "2024-05-17"], ids=["no time", "a date"])
def test_what_was_sent_before_the_last_copy_of_the_state_does_not_replace_it(time: str | None) -> None:
    batch_state = BatchState(make_batch_state().max_future, from_micros(RECEIVED_AT + HOUR))
    shipped, ready = (
        anonymous(event("", time, status=status)._replace(ordered_by_arrival=True))._replace(snapshot=snapshot)
        for status, snapshot in (("shipped", OLD), ("ready", NEW))
    )
    sent = [(shipped, 0, "applied"), (shipped, 5, "duplicate"), (ready, 3, "stale older"), (ready, 7, "applied")]
    for number, (item, minutes, verdict) in enumerate(sent):
        ((_, found),) = decide(batch_state, item, number=number, at=RECEIVED_AT + minutes * 60_000_000)
        assert found == verdict
        expected = ("ready", NEW.shipment) if item is ready and verdict == "applied" else ("shipped", OLD.shipment)
        assert (state(batch_state).status, state(batch_state).shipment) == expected


def test_a_copy_of_a_change_with_an_id_is_only_a_repetition() -> None:
    batch_state = BatchState(make_batch_state().max_future, from_micros(RECEIVED_AT + HOUR))
    for number, (name, snapshot, at) in enumerate([("m1", OLD, 0), ("m1", OLD, 5), ("m2", NEW, 3)]):
        item = timed(snapshot, event(name, T1))._replace(message_id=name, digest=name)
        decide(batch_state, item, number=number, at=RECEIVED_AT + at)
    assert state(batch_state).shipment == NEW.shipment


@each_row(("times", "manifest"), [([0, 1], "M1"), ([1, 0], "M0"), ([0, 0], "M1")])
def test_a_package_travels_with_the_manifest_that_arrived_last(times: Sequence[int], manifest: str) -> None:
    batch_state = BatchState(make_batch_state().max_future, from_micros(RECEIVED_AT))
    for number, later in enumerate(times):
        decide(batch_state, message(f"m{number}", links=(Link("P", f"M{number}"),)), number=number, at=RECEIVED_AT + later)
    assert batch_state.links == {("ship24", "P"): LinkRow("ship24", "P", manifest, RECEIVED_AT + max(times))}
