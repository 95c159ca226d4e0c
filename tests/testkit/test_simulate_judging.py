"""How the simulator judges answers, end states and times."""

from typing import Any

from receiver.testkit.http import HttpReply, NoReply, Reply
from receiver.testkit.simulate.answers import Reading, read_answer
from receiver.testkit.simulate.comparison import find_difference
from receiver.testkit.simulate.ledger import Attempt, AttemptLog
from receiver.testkit.simulate.planning import make_plan
from receiver.testkit.simulate.records import ExpectedState, Phase, PlannedDelivery, TrafficShape
from receiver.testkit.simulate.report import quantiles
from tests.harness.table import each_row

PLAN = make_plan("ship24", 1, "00c0ffee", TrafficShape(calls=30, group=1, duplicates=0, reorder=0))
FIRST = PLAN.traffic[0].messages[0]
TRUTH = ExpectedState("ship24", "t", "Sorted", "in_transit", "2025-03-03", "e2", frozenset({"e1", "e2"}))
EVENTS = [{"event_id": "e2", "outcome": "applied"}, {"event_id": "e1", "outcome": "stale"}]
STATE = {
    "status": "Sorted",
    "status_milestone": "in_transit",
    "latest_occurrence": "2025-03-03",
    "latest_event_id": "e2",
    "changes": 1,
}


def judge(*told: tuple[Phase, str | None]) -> tuple[str | None, str | None]:
    """Return why the first message is lost and why it is doubled, after these answers to calls with it (None: no answer)."""
    ledger = AttemptLog(PLAN)
    for phase, verdict in told:
        reading = Reading(verdict is not None, None if verdict is None else (verdict,))
        ledger.note(PlannedDelivery(phase, 0, 0.0, (FIRST,)), Attempt(1, 0.0, 0.0, 0.0, False), HttpReply(200), reading)
    found = ledger.find()
    return found.lost.get(FIRST), found.doubled.get(FIRST)


@each_row(
    "told",
    [
        [("traffic", "applied"), ("resend", "duplicate")],
        [("traffic", "applied"), ("traffic", "duplicate"), ("resend", "duplicate")],
        [("traffic", "duplicate"), ("traffic", "stale"), ("resend", "duplicate")],
        [("traffic", None), ("traffic", "duplicate"), ("resend", "duplicate")],
        [("traffic", None), ("traffic", "applied"), ("resend", None), ("resend", "duplicate")],
    ],
)
def test_a_message_that_was_taken_once_is_neither_lost_nor_doubled(told: list[tuple[Phase, str | None]]) -> None:
    assert judge(*told) == (None, None)


@each_row(
    ("told", "why"),
    [
        ([("traffic", None), ("resend", "applied")], "never accepted"),
        ([("traffic", None), ("resend", None)], "never accepted"),
        ([("traffic", "applied"), ("resend", "applied")], "accepted, but applied when sent again"),
        ([("traffic", "applied"), ("resend", None)], "no verdict when sent again"),
        ([("traffic", "applied")], "no verdict when sent again"),
        ([("traffic", "duplicate"), ("resend", "duplicate")], "a duplicate although it was new"),
        ([("traffic", "quarantined"), ("resend", "duplicate")], "quarantined"),
    ],
)
def test_a_message_that_is_not_there_is_lost(told: list[tuple[Phase, str | None]], why: str) -> None:
    assert judge(*told)[0] == why


def test_a_message_that_was_taken_twice_is_doubled() -> None:
    assert judge(("traffic", "applied"), ("traffic", "stale"), ("resend", "duplicate")) == (None, "accepted as new 2 times")


@each_row(
    ("body", "taken", "verdicts"),
    [
        (b'{"messages": [{"message_id": "a", "outcome": "stale"}]}', True, ("stale",)),
        (b'{"messages": [{"message_id": "b", "outcome": "stale"}]}', True, None),
        (b'{"messages": [{"message_id": "a", "outcome": "accepted"}]}', True, None),
        (b'{"messages": []}', True, None),
        (b'{"messages": 1}', True, None),
        (b'{"success": true}', True, None),
        (b'{"success": false}', False, None),
        (b'{"success": "false"}', False, None),
        (b"\xff", True, None),
    ],
)
def test_an_answer_is_read_as_senders_do(body: bytes, taken: bool, verdicts: tuple[str, ...] | None) -> None:
    assert read_answer(HttpReply(200, body=body), ["a"]) == Reading(taken, verdicts)


@each_row("reply", [*(HttpReply(status, body=b"{}") for status in (100, 199, 300, 301, 400, 500)), NoReply("closed", 0.1)])
def test_only_2xx_is_a_success(reply: Reply) -> None:
    assert not read_answer(reply, ["a"]).accepted


def test_a_tracker_as_it_should_be_differs_in_nothing() -> None:
    assert find_difference(TRUTH, {"tracker": STATE, "events": EVENTS}) is None


def test_a_tracker_that_moved_back_after_a_revision_differs_in_nothing() -> None:
    superseded = {"event_id": "e1", "outcome": "applied", "superseded": True}
    assert find_difference(TRUTH, {"tracker": STATE | {"changes": 3}, "events": [*EVENTS, superseded]}) is None


@each_row(
    ("state", "events", "words"),
    [
        ({"status": "Lost"}, EVENTS, "status is 'Lost'"),
        ({"status_milestone": None}, EVENTS, "status_milestone is None"),
        ({"latest_occurrence": "2025-03-04"}, EVENTS, "latest_occurrence"),
        ({"latest_event_id": "e1"}, EVENTS, "latest_event_id"),
        ({"changes": 2}, EVENTS, "2 changes with 1"),
        ({}, EVENTS[:1], "1 events are missing, 0 are unexpected"),
        ({}, [*EVENTS, {"event_id": "e3"}], "0 events are missing, 1 are unexpected"),
        ({}, [*EVENTS, EVENTS[0]], "stored twice"),
        ({}, [1], "another shape"),
        ({}, None, "another shape"),
    ],
)
def test_a_tracker_that_differs_is_reported_with_the_difference(state: dict[str, Any], events: Any, words: str) -> None:
    assert words in str(find_difference(TRUTH, {"tracker": STATE | state, "events": events}))


def test_quantiles_are_times_that_were_measured() -> None:
    assert quantiles([]) == {"p50": None, "p99": None, "p99_9": None, "max": None}
    assert quantiles([0.002]) == {"p50": 2.0, "p99": 2.0, "p99_9": 2.0, "max": 2.0}
    hundred = [number / 1000 for number in range(100, 0, -1)]
    assert quantiles(hundred) == {"p50": 50.0, "p99": 99.0, "p99_9": 100.0, "max": 100.0}
