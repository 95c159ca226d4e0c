"""The verdicts: every outcome and reason, and that the order of arrival does not matter."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations
from pathlib import Path

import orjson
import pytest
from freezegun import freeze_time
from hypothesis import assume, given
from hypothesis import strategies as st

from receiver.clock import from_micros, to_micros
from receiver.domain.batch import BatchState
from receiver.domain.newer import EventTime, is_newer
from receiver.domain.occurrence import read_occurrence
from receiver.domain.reading import digest
from receiver.domain.records import Delivery, Event, Message, Snapshot
from receiver.domain.rows import EventRow, MessageRow, TrackerRow
from receiver.domain.verdicts import Verdict
from receiver.sources.ship24 import split
from tests.harness.table import each_row

PAYLOADS = Path(__file__).parents[1] / "payloads" / "ship24"
RECEIVED_AT = to_micros(datetime(2024, 5, 17, 12, tzinfo=UTC))
KEY = ("ship24", "T")
T1, T2, T3 = "2024-05-16T09:00:00Z", "2024-05-16T10:00:00Z", "2024-05-16T11:00:00Z"
BLOCK = '{"statusMilestone":"in_transit"}'


def event(
    event_id: str, occurrence: str | None = T1, order: int | None = None, status: str = "", quarantine_reason: str | None = None
) -> Event:
    raw = f"{event_id} {occurrence} {order} {status}".encode()
    return Event(event_id, occurrence, order, status, None, None, None, None, None, raw, digest(raw), quarantine_reason)


def message(message_id: str | None, *events: Event, at: int = 0, block: str | None = None, **fields: object) -> Message:
    raw = repr((message_id, events, at, block, fields)).encode()
    snapshot = Snapshot("AB12", None, None, block)
    made = Message(0, raw, digest(raw), message_id, "T", snapshot=snapshot, events=events, generated_at=at)
    return made._replace(**fields)  # type: ignore[arg-type]


def make_batch_state() -> BatchState:
    return BatchState(timedelta(hours=48), from_micros(RECEIVED_AT))


def deliver(batch_state: BatchState, *messages: Message, number: int = 1) -> list[Verdict]:
    """Decide the messages as the items of one delivery."""
    identity = f"delivery-{number}"
    delivery = Delivery(identity, "ship24", "tracking", "POST", "/", RECEIVED_AT, None, None, None, None, (), b"")
    receipt = batch_state.decide(delivery, [m._replace(position=place) for place, m in enumerate(messages)])
    assert receipt.delivery_id == identity
    assert [message_id for message_id, _ in receipt.messages] == [m.message_id for m in messages]
    return [verdict for _, verdict in receipt.messages]


def words(verdicts: Sequence[Verdict]) -> list[str]:
    return [f"{verdict.outcome} {verdict.reason or ''}".strip() for verdict in verdicts]


def rows(batch_state: BatchState) -> list[EventRow]:
    return list(batch_state.timelines.new.values())


def kept_row(source: str, message_id: str, content: str) -> MessageRow:
    return MessageRow(source, message_id, "T", "", "applied", None, "earlier", 0, content, RECEIVED_AT)


def state(batch_state: BatchState) -> TrackerRow:
    return batch_state.trackers[KEY]


@each_row(
    ("first", "second", "verdict"),
    [
        pytest.param(event("a", T1), event("b", T2), "applied", id="newer"),
        pytest.param(event("a", T2), event("b", T1), "stale older", id="older"),
        pytest.param(event("a", T1), event("b", T1), "stale tie", id="equal times without order"),
        pytest.param(event("a", T1, 1), event("b", T1, 2), "applied", id="equal times, larger order"),
        pytest.param(event("a", T1, 2), event("b", T1, 1), "stale older", id="equal times, smaller order"),
        pytest.param(event("a", T1, 2), event("b", T1, 2), "stale tie", id="equal times, equal order"),
        pytest.param(event("a", T1, 2), event("b", T1), "stale tie", id="equal times, one order"),
        pytest.param(event("a", T1), event("b", "2024-05-16"), "stale tie", id="date of a time"),
        pytest.param(event("a", "2024-05-16"), event("b", "2024-05-17"), "applied", id="later date"),
        pytest.param(event("a", T1), event("a", T1), "duplicate", id="the same event under a second message id"),
        pytest.param(event("a", T1), event("a", T2), "applied revised", id="its id with another time"),
        pytest.param(event("a", T1), event("b", "soon"), "quarantined bad_occurrence", id="not a time"),
        pytest.param(
            event("a", T1),
            event("b", None, quarantine_reason="missing_occurrence"),
            "quarantined missing_occurrence",
            id="no time",
        ),
        pytest.param(
            event("a", T1), event("b", None, quarantine_reason="not_an_object"), "quarantined not_an_object", id="not an object"
        ),
        pytest.param(event("a", T1), event("b", "2024-05-19T12:00:00Z"), "applied", id="48 hours ahead"),
        pytest.param(event("a", T1), event("b", "2024-05-19T12:00:01Z"), "quarantined implausible_future", id="further ahead"),
    ],
)
def test_the_second_event_of_a_tracker(first: Event, second: Event, verdict: str) -> None:
    apart, together, one_item = make_batch_state(), make_batch_state(), make_batch_state()
    assert words(deliver(apart, message("m1", first))) == ["applied"]
    assert words(deliver(apart, message("m2", second), number=2)) == [verdict]
    assert words(deliver(together, message("m1", first), message("m2", second))) == ["applied", verdict]
    assert words(deliver(one_item, message("m1", first, second))) == ["applied"]
    latest = second if verdict.startswith("applied") else first
    assert [state(batch_state).latest_event_id for batch_state in (apart, together, one_item)] == [latest.event_id] * 3
    assert state(apart).latest_occurrence == latest.occurrence


def test_an_event_too_far_in_the_future_is_told_the_limit() -> None:
    verdicts = deliver(make_batch_state(), message("m", event("a", "2024-05-19T12:00:01Z")))
    assert verdicts[0].detail == "Event time is too far in the future (limit 48 h)."


@each_row(
    ("copy", "verdict"),
    [
        pytest.param(message("m", event("a")), "duplicate", id="the same"),
        pytest.param(message("m", event("a", T2)), "duplicate content_differs", id="other content"),
        pytest.param(message("m", event("b", T3)), "duplicate content_differs", id="other event"),
        pytest.param(message("m", event("a"), tracker_id="other"), "duplicate content_differs", id="other tracker"),
        pytest.param(message("m", quarantine_reason="events_not_a_list"), "duplicate content_differs", id="flawed"),
    ],
)
def test_a_message_id_has_an_effect_once(copy: Message, verdict: str) -> None:
    batch_state = make_batch_state()
    original = message("m", event("a"))
    assert words(deliver(batch_state, original, copy)) == ["applied", verdict]
    before = state(batch_state)
    assert words(deliver(batch_state, copy, number=2)) == [verdict]
    assert (state(batch_state), len(batch_state.messages.new), len(rows(batch_state)), len(batch_state.changes)) == (
        before,
        1,
        1,
        1,
    )
    assert [(row.delivery_id, row.position) for row in batch_state.repeated] == [("delivery-1", 1), ("delivery-2", 0)]
    assert batch_state.trackers.keys() == {KEY}


def test_what_storage_knew_is_a_duplicate_too() -> None:
    known = message("m", event("a"))
    batch_state = make_batch_state()
    batch_state.messages.known["ship24", "m"] = kept_row("ship24", "m", known.digest)
    batch_state.messages.known["other source", "n"] = kept_row("other source", "n", "x")
    assert words(deliver(batch_state, known, message("n", event("b")))) == ["duplicate", "applied"]


def test_the_same_event_id_of_another_tracker_is_another_event() -> None:
    batch_state = make_batch_state()
    messages = message("m1", event("a")), message("m2", event("a"), tracker_id="U")
    assert words(deliver(batch_state, *messages)) == ["applied", "applied"]


@each_row("kept", [message("m", topic="tracking/pod", snapshot=Snapshot(None, None, None, None)), message("m")])
def test_a_message_without_events_is_recorded(kept: Message) -> None:
    batch_state = make_batch_state()
    assert words(deliver(batch_state, kept)) == ["recorded"]
    assert words(deliver(batch_state, kept, number=2)) == ["duplicate"]
    assert (state(batch_state).latest_event_id, batch_state.changes) == (None, [])


@each_row(
    ("flawed", "reason"),
    [
        pytest.param(message(None), "missing_message_id", id="no message id"),
        pytest.param(message(None, quarantine_reason="not_an_object"), "not_an_object", id="not an object"),
        pytest.param(message(None, quarantine_reason="too_deep"), "too_deep", id="too deep"),
        pytest.param(message("m", tracker_id=None), "missing_tracker_id", id="no tracker id"),
        pytest.param(message("m", quarantine_reason="events_not_a_list"), "events_not_a_list", id="events not a list"),
    ],
)
def test_a_flawed_message_is_kept_apart_and_the_rest_goes_on(flawed: Message, reason: str) -> None:
    batch_state = make_batch_state()
    flawed = flawed._replace(detail="What was expected.")
    verdicts = deliver(batch_state, message("m0", event("a")), flawed, message("m2", event("b", T2)))
    assert words(verdicts) == ["applied", f"quarantined {reason}", "applied"]
    assert verdicts[1].detail == "What was expected."
    (row,) = batch_state.quarantined
    assert (row.raw, row.reason, row.position, row.event_position) == (flawed.raw, reason, 1, None)
    assert len(batch_state.messages.new) + len(batch_state.repeated) == 3


def test_a_flawed_event_is_kept_apart_with_its_own_bytes() -> None:
    batch_state = make_batch_state()
    bad = event("b", "soon")
    assert words(deliver(batch_state, message("m", event("a"), bad))) == ["applied"]
    (row,) = batch_state.quarantined
    assert (row.raw, row.reason, row.position, row.event_position) == (bad.raw, "bad_occurrence", 0, 1)
    assert [kept.event_id for kept in rows(batch_state)] == ["a"]


@each_row("bad", [event("b", "soon"), event("b", None, quarantine_reason="missing_occurrence"), event("b", "2999-01-01")])
def test_the_id_of_a_quarantined_event_can_still_be_applied(bad: Event) -> None:
    batch_state = make_batch_state()
    assert deliver(batch_state, message("m1", bad))[0].outcome == "quarantined"
    assert words(deliver(batch_state, message("m2", event("b", T2)), number=2)) == ["applied"]
    assert state(batch_state).latest_occurrence == T2


def test_an_implausible_event_alone_makes_no_tracker_and_beside_others_brings_no_details() -> None:
    batch_state, far = make_batch_state(), event("b", "2999-01-01")
    deliver(batch_state, message("m1", far, block=BLOCK))
    assert (batch_state.trackers, batch_state.terms) == ({}, set())
    deliver(batch_state, message("m2", event("a"), far, block=BLOCK), number=2)
    assert (state(batch_state).tracking_number, state(batch_state).shipment) == ("AB12", None)


NEW, OLD, TIE, KNOWN, BAD = event("n", T3), event("o", T1), event("t", T2), event("k", T2), event("x", "soon")


@each_row(
    ("events", "verdict"),
    [
        pytest.param([BAD, KNOWN, OLD, NEW], "applied", id="applied before all"),
        pytest.param([BAD, KNOWN, OLD], "stale older", id="stale before duplicate"),
        pytest.param([TIE, OLD], "stale tie", id="the first of equals gives the reason: tie"),
        pytest.param([OLD, TIE], "stale older", id="the first of equals gives the reason: older"),
        pytest.param([BAD, KNOWN], "duplicate", id="duplicate before quarantined"),
        pytest.param([BAD], "quarantined bad_occurrence", id="quarantined"),
        pytest.param([], "recorded", id="no events"),
    ],
)
def test_a_message_is_the_best_of_its_events(events: list[Event], verdict: str) -> None:
    batch_state = make_batch_state()
    deliver(batch_state, message("m1", KNOWN))
    assert words(deliver(batch_state, message("m2", *events), number=2)) == [verdict]


def test_nine_events_newest_first_move_the_tracker_once() -> None:
    batch_state = make_batch_state()
    messages = split((PAYLOADS / "nine_events_newest_first.json").read_bytes())
    assert words(deliver(batch_state, *messages)) == ["applied"]
    assert [row.outcome for row in rows(batch_state)] == ["applied"] + ["stale"] * 8
    assert {row.against for row in rows(batch_state)} == {None, rows(batch_state)[0].event_id}
    assert [change.status_milestone for change in batch_state.changes] == ["delivered"]


def test_the_grouped_example_is_decided_in_body_order() -> None:
    messages = split((PAYLOADS / "grouped.json").read_bytes())
    forward, backward = make_batch_state(), make_batch_state()
    assert words(deliver(forward, *messages)) == ["applied", "applied", "stale older"]
    assert words(deliver(backward, *messages[::-1])) == ["applied", "applied", "applied"]
    assert words(deliver(forward, *messages, number=2)) == ["duplicate"] * 3
    assert {key: row.latest_event_id for key, row in forward.trackers.items()} == {
        key: row.latest_event_id for key, row in backward.trackers.items()
    }


TIMELINE = [
    event("a", T1, 1),
    event("b", T1, 2),
    event("c", "2024-05-16T12:30:00+02:00", 3),
    event("d", T3),
    event("e", "2024-05-17"),
]


@given(st.permutations(TIMELINE), st.sets(st.integers(1, 4)))
def test_events_end_the_same_in_any_order_and_grouping(events: list[Event], cuts: set[int]) -> None:
    batch_state = make_batch_state()
    edges = [0, *sorted(cuts), len(events)]
    groups = [events[start:end] for start, end in pairwise(edges)]
    deliver(batch_state, *(message(f"m{number}", *group, at=number) for number, group in enumerate(groups)))
    assert (state(batch_state).latest_event_id, state(batch_state).latest_occurrence) == ("e", "2024-05-17")
    assert {row.event_id for row in rows(batch_state)} == set("abcde")


TIMES = [f"2024-05-{day}T{clock}{zone}" for day in (15, 16) for clock in ("01:30:00", "22:30:00") for zone in ("", "Z", "+05:00")]


@given(st.lists(st.tuples(st.sampled_from(["2024-05-15", "2024-05-16", *TIMES]), st.sampled_from([None, 1, 2])), max_size=6))
def test_an_event_that_is_newer_than_all_others_is_the_latest_in_any_order(told: list[tuple[str, int | None]]) -> None:
    events = [event(str(place), time, order) for place, (time, order) in enumerate(told)]
    times = {each.event_id: EventTime(read_occurrence(each.occurrence or ""), each.order) for each in events}
    newest = [one for one in times if all(one == other or is_newer(times[one], times[other]) for other in times)]
    assume(newest)
    batch_state = make_batch_state()
    deliver(batch_state, message("m", *events))
    assert [state(batch_state).latest_event_id] == newest


@each_row(
    "circle",
    [
        [("2024-05-16T10:00:00Z", None), ("2024-05-16T11:00:00", None), ("2024-05-16T11:30:00+02:00", None)],
        [("2024-05-16T09:00:00", 3), ("2024-05-16T10:00:00", 1), ("2024-05-16", 2)],
    ],
    ids=["zones", "a date and orders"],
)
def test_of_three_events_of_which_each_is_newer_than_another_the_last_one_stays(circle: list[tuple[str, int | None]]) -> None:
    for order in permutations([event(str(place), *each) for place, each in enumerate(circle)]):
        batch_state = make_batch_state()
        deliver(batch_state, message("m", *order))
        assert state(batch_state).latest_event_id == order[-1].event_id


def test_a_stale_event_is_no_change() -> None:
    batch_state = make_batch_state()
    deliver(batch_state, message("m1", event("a", T2)), message("m2", event("b", T1)))
    assert [row.change_id is None for row in rows(batch_state)] == [False, True]
    assert (rows(batch_state)[1].move, state(batch_state).moves, len(batch_state.changes)) == (None, 1, 1)


def test_a_state_carries_the_words_of_its_event_and_a_change_both_states() -> None:
    batch_state = make_batch_state()
    deliver(batch_state, message("m1", event("a", T1, status="Sorted")), message("m2", event("b", T2, status="Delivered")))
    first, second = batch_state.changes
    assert (first.old_status, first.status, second.old_status, second.status) == (None, "Sorted", "Sorted", "Delivered")
    assert (first.move, second.move, state(batch_state).moves, state(batch_state).status) == (1, 2, 2, "Delivered")
    assert batch_state.changes == rows(batch_state)
    assert first.change_id != second.change_id
    assert (state(batch_state).latest_message_id, state(batch_state).applied_at, batch_state.changed) == (
        "m2",
        RECEIVED_AT,
        {KEY},
    )


EARLY, LATE = message("z", at=100, block='{"n":1}'), message("a", at=200, block='{"n":2}')
TWIN, POD = message("b", at=200, block='{"n":3}'), message("y", topic="tracking/pod")


@each_row("order", list(permutations([EARLY, LATE, TWIN, POD])), ids=lambda ms: "".join(m.message_id for m in ms))
def test_the_latest_built_block_stays_and_of_two_the_one_with_the_larger_message_id(order: tuple[Message, ...]) -> None:
    batch_state = make_batch_state()
    deliver(batch_state, *order)
    assert (state(batch_state).shipment, state(batch_state).snapshot_generated_at, state(batch_state).snapshot_message_id) == (
        '{"n":3}',
        200,
        "b",
    )


@each_row("pod_first", [False, True], ids=["block first", "proof of delivery first"])
@each_row("generated_at", ["2024-05-16T10:00:00Z", "soon", None], ids=["dated", "badly dated", "undated"])
def test_proof_of_delivery_neither_blocks_nor_removes_a_shipment_block(generated_at: str | None, pod_first: bool) -> None:
    block = {"metadata": {"messageId": "a", "generatedAt": generated_at}, "tracker": {"trackerId": "T"}, "shipment": {"n": 1}}
    pod = {"metadata": {"messageId": "z", "topic": "tracking/pod"}, "tracker": {"trackerId": "T"}}
    batch_state = make_batch_state()
    items = split(orjson.dumps({"trackings": [pod, block] if pod_first else [block, pod]}))
    assert words(deliver(batch_state, *items)) == ["recorded", "recorded"]
    assert state(batch_state).shipment == '{"n":1}'


def test_a_tracker_is_found_by_all_its_names_without_case() -> None:
    batch_state = make_batch_state()
    old = Snapshot("AB12", "Straße-7", None, BLOCK)
    deliver(batch_state, message("m1", at=1, snapshot=old), message("m2", at=2, snapshot=Snapshot("AB12", "Kunde", "REF", BLOCK)))
    assert {term for term, _, _ in batch_state.terms} == {"t", "ab12", "strasse-7", "kunde", "ref"}
    assert {(source, tracker_id) for _, source, tracker_id in batch_state.terms} == {KEY}


@freeze_time("1999-01-01")
def test_the_time_of_arrival_counts_and_not_the_clock() -> None:
    batch_state = make_batch_state()
    one, two = (event(name, None)._replace(ordered_by_arrival=True) for name in "ab")
    deliver(batch_state, message("m1", one), message("m2", two), message("m3", event("c", "1999-01-01")))
    found = [(row.event_id, row.basis, row.occurrence, row.order, row.outcome) for row in rows(batch_state)]
    assert found == [
        ("a", "arrival", "2024-05-17T12:00:00.000Z", RECEIVED_AT, "applied"),
        ("b", "arrival", "2024-05-17T12:00:00.000Z", RECEIVED_AT + 1, "applied"),
        ("c", "courier", "1999-01-01", None, "stale"),
    ]
