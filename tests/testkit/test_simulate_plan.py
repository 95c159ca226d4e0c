"""What the simulator sends: fixed by the seed, with every documented oddity, and with one right end state."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.clock import to_micros
from receiver.domain.batch import BatchState
from receiver.domain.newer import EventTime, compare_times
from receiver.domain.occurrence import read_occurrence
from receiver.domain.records import Delivery
from receiver.sources import make_sources
from receiver.testkit.simulate.planning import make_plan
from receiver.testkit.simulate.records import ExpectedState, PlannedDelivery, TrafficPlan, TrafficShape
from receiver.testkit.simulate.sender import retry_steps
from receiver.testkit.simulate.times import FORMS, draw_times

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RUN = "00c0ffee"
SMALL = TrafficShape(calls=60, group=6)
SOURCES = {source.kind: source for source in make_sources({}, {})}
FORM = re.compile(r"T.*?(Z|[+-]\d\d:\d\d)$")
both_sources = pytest.mark.parametrize("source", ["ship24", "shiipp"])


def calls_of(plan: TrafficPlan) -> list[PlannedDelivery]:
    return [plan.hello, plan.test, *plan.traffic, *plan.resend, *plan.older, *plan.newer]


def bytes_of(plan: TrafficPlan) -> bytes:
    return b"\n".join(b"%f " % call.due_seconds + plan.body(call) for call in calls_of(plan))


def items_of(plan: TrafficPlan) -> list[dict[str, Any]]:
    """Return every item of the traffic once."""
    return [json.loads(plan.messages[number].sent.item) for number in sorted({n for call in plan.traffic for n in call.messages})]


def decide(plan: TrafficPlan, calls: Sequence[PlannedDelivery]) -> tuple[BatchState, dict[str, list[str]]]:
    """Decide deliveries in this order by our own rules; return the state and the verdicts of each message."""
    batch_state = BatchState(timedelta(hours=48), NOW)
    verdicts: dict[str, list[str]] = {}
    for number, call in enumerate(calls):
        source = SOURCES[plan.kind(call)]
        body = plan.body(call)
        at = to_micros(NOW) + number
        delivery = Delivery(f"d{number}", source.name, source.kind, "POST", source.path, at, "", "", None, None, (), body)
        for message_id, verdict in batch_state.decide(delivery, source.split(body)).messages:
            verdicts.setdefault(str(message_id), []).append(verdict.outcome)
    return batch_state, verdicts


def known(batch_state: BatchState, expected: ExpectedState) -> ExpectedState:
    state = batch_state.trackers[expected.source, expected.tracker_id]
    kept = frozenset(
        event
        for source, tracker, event in batch_state.timelines.current
        if (source, tracker) == (expected.source, expected.tracker_id)
    )
    latest = (state.status, state.status_milestone, str(state.latest_occurrence), str(state.latest_event_id))
    return ExpectedState(expected.source, expected.tracker_id, *latest, kept)


@both_sources
def test_the_seed_decides_every_byte(source: str) -> None:
    first, again, other = (bytes_of(make_plan(source, seed, RUN, SMALL)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


@both_sources
def test_another_run_differs_in_its_digits_alone(source: str) -> None:
    one, other = (bytes_of(make_plan(source, 7, run, SMALL)) for run in (RUN, "0badcafe"))
    assert one != other
    assert one.replace(RUN.encode(), b"0badcafe").replace(RUN.upper().encode(), b"0BADCAFE") == other


@both_sources
@pytest.mark.parametrize(("calls", "duplicates"), [(1, 50), (2, 10), (3, 50), (37, 10), (400, 10)])
def test_it_sends_the_requested_number_of_deliveries(source: str, calls: int, duplicates: int) -> None:
    plan = make_plan(source, 3, RUN, TrafficShape(calls=calls, rate=20, duplicates=duplicates))
    assert calls <= len(plan.traffic) <= calls + (5 if source == "shiipp" else 0)  # a call of Shiipp's has messages of one kind
    dues = [call.due_seconds for call in plan.traffic]
    assert dues == sorted(dues)
    assert dues[-1] == pytest.approx((len(plan.traffic) - 1) / 20, abs=0.11)


def test_times_come_in_all_four_forms() -> None:
    times = [
        event["occurrenceDatetime"] for item in items_of(make_plan("ship24", 1, RUN, SMALL)) for event in item.get("events", ())
    ]
    forms = {
        "day" if "T" not in text else (found := FORM.search(text)) and ("Z" if found[1] == "Z" else "offset") for text in times
    }
    assert forms == {"day", None, "Z", "offset"}
    assert any(text.endswith(".000Z") for text in times)


def test_an_item_has_nine_events_newest_first() -> None:
    counts = [item["events"] for item in items_of(make_plan("ship24", 1, RUN, SMALL)) if len(item.get("events", ())) == 9]
    assert counts
    moments = [EventTime(read_occurrence(event["occurrenceDatetime"]), event["order"]) for event in counts[0]]
    assert all(compare_times(newer, older) == 1 for newer, older in pairwise(moments))


def test_it_is_odd_in_all_that_is_documented() -> None:
    items = items_of(make_plan("ship24", 1, RUN, SMALL))
    assert {item["metadata"].get("topic") for item in items} == {"tracking/events", "tracking/pod", None}
    proofs = [item for item in items if "data" in item]
    assert proofs
    assert not any({"shipment", "events", "statistics"} & item.keys() for item in proofs)
    assert {item["data"]["status"] for item in proofs} == {"found", "unavailable"}
    shipments = [item["shipment"] for item in items if "shipment" in item]
    assert None in shipments
    assert None in [shipment["recipient"] for shipment in shipments if shipment]
    events = [event for item in items for event in item.get("events", ())]
    assert {type(event["order"]) for event in events} == {int, type(None)}
    assert any(event["statusCode"] is None and event["statusCategory"] for event in events)
    assert any(item.get("events") == [] for item in items)
    told = Counter(event["eventId"] for event in events)
    assert max(told.values()) > 1, "an event is told again by another message"


def test_a_group_has_newer_before_older() -> None:
    plan = make_plan("ship24", 1, RUN, SMALL)
    tracker = [[plan.messages[number].tracker for number in call.messages] for call in plan.traffic]
    backwards = [
        call
        for call, trackers in zip(plan.traffic, tracker, strict=True)
        if len(set(trackers)) < len(trackers) and list(call.messages) == sorted(call.messages, reverse=True)
    ]
    assert backwards


@both_sources
def test_copies_come_in_parallel_and_late_and_everything_comes_again(source: str) -> None:
    plan = make_plan(source, 1, RUN, TrafficShape(calls=100, duplicates=20))
    sent = Counter(number for call in plan.traffic for number in call.messages)
    groups = Counter(frozenset(call.messages) for call in plan.traffic)
    copies = len(plan.traffic) - len(groups)
    assert 16 <= copies <= 20
    first = {frozenset(call.messages): call.due_seconds for call in reversed(plan.traffic)}
    apart = [call.due_seconds - first[frozenset(call.messages)] for call in plan.traffic]
    parallel = sum(
        one.messages == other.messages and one.due_seconds == other.due_seconds for one, other in pairwise(plan.traffic)
    )
    assert parallel == copies // 2
    assert sum(gap > 0 for gap in apart) == copies // 2
    assert Counter(number for call in plan.resend for number in call.messages) == dict.fromkeys(sent, 1)


@both_sources
def test_without_copies_and_late_ones_messages_come_once_and_in_order(source: str) -> None:
    plan = make_plan(source, 1, RUN, TrafficShape(calls=40, group=1, duplicates=0, reorder=0))
    numbers = [number for call in plan.traffic for number in call.messages]
    assert numbers == sorted(set(numbers))


def test_late_messages_come_after_newer_ones() -> None:
    numbers = [
        number
        for call in make_plan("ship24", 1, RUN, TrafficShape(40, group=1, duplicates=0)).traffic
        for number in call.messages
    ]
    assert numbers != sorted(numbers)


def test_shiipps_keys_are_spelt_in_two_ways_and_its_root_is_an_object_or_an_array() -> None:
    plan = make_plan("shiipp", 1, RUN, TrafficShape(60, group=2))
    roots = [json.loads(plan.body(call)) for call in plan.traffic]
    assert {type(root) for root in roots} == {dict, list}
    assert {type(root) for root in roots if isinstance(root, dict) or len(root) == 1} == {dict, list}
    keys = {key for root in roots for item in (root if isinstance(root, list) else [root]) for key in item}
    assert {"package_id", "PackageID", "manifest_id", "ManifestID", "entry_date_time", "EntryDateTime"} <= keys
    statuses: dict[int, list[str]] = {}
    for number in sorted({number for call in plan.traffic for number in call.messages}):
        message = plan.messages[number]
        if message.sent.kind == "manifest-status":
            item = json.loads(message.sent.item)
            statuses.setdefault(message.tracker, []).append(item.get("status") or item["Status"])
    assert ["draft", "ready", "shipped", "ready", "shipped", "completed"] in statuses.values()


@settings(max_examples=60)
@given(seed=st.integers(), form=st.sampled_from(FORMS))
def test_times_of_a_life_stand_in_one_order_without_a_circle(seed: int, form: str) -> None:
    times = draw_times(Random(seed), 11, form)
    moments = [EventTime(read_occurrence(time.text), time.order) for time in times]
    for older, newer in permutations(range(len(times)), 2):
        assert compare_times(moments[older], moments[newer]) == (-1 if older < newer else 1)
    last = times[-1]
    for steps in (-1, 1):
        probe = last.moved(steps)
        assert compare_times(EventTime(read_occurrence(probe.text), probe.order), moments[-1]) == steps


@both_sources
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), data=st.data())
def test_in_any_order_our_own_rules_reach_the_expected_state(source: str, seed: int, data: st.DataObject) -> None:
    plan = make_plan(source, seed, RUN, TrafficShape(calls=data.draw(st.integers(1, 25)), group=data.draw(st.integers(1, 12))))
    traffic = data.draw(st.permutations(plan.traffic))
    batch_state, verdicts = decide(plan, traffic)
    expected_states = [tracker.expected for tracker in plan.trackers if tracker.expected is not None]
    assert [known(batch_state, expected) for expected in expected_states] == expected_states
    assert not batch_state.quarantined
    for message in plan.messages:
        told = verdicts.get(message.id, [])
        assert sum(verdict != "duplicate" for verdict in told) <= 1
        assert message.sent.in_others or not told or told[0] != "duplicate"


@both_sources
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_our_own_rules_give_every_answer_that_is_expected_at_the_end(source: str, seed: int) -> None:
    plan = make_plan(source, seed, RUN, TrafficShape(calls=20))
    calls = [*plan.traffic, *plan.resend, *plan.older, *plan.newer]
    _, verdicts = decide(plan, calls)
    for number in {number for call in plan.traffic for number in call.messages}:
        assert verdicts[plan.messages[number].id][-1] == "duplicate"
    for tracker in plan.trackers:
        found = [verdicts[plan.messages[number].id] for number in (tracker.older, tracker.newer) if number is not None]
        assert found in ([], [["stale"], ["applied"]])


def test_ship24_tries_twenty_times_in_about_six_days() -> None:
    steps = retry_steps("ship24", 1)
    assert len(steps) + 1 == 20
    assert steps[0] == 12 * 60
    assert max(steps) == 12 * 3600
    assert 5 * 86_400 < sum(steps) < 6.5 * 86_400


def test_shiipp_retries_five_times_with_growing_delays() -> None:
    steps = retry_steps("shiipp", 0.001)
    assert len(steps) == 5
    assert all(later == 2 * sooner for sooner, later in pairwise(steps))
    assert steps == tuple(step * 0.001 for step in retry_steps("shiipp", 1))
