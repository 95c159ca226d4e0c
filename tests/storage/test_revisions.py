"""Corrections: the state is a function of the set of messages, in any order; targets see the changes."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count, permutations
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.clock import to_micros
from receiver.domain.changes import Subscription
from receiver.storage import queries
from receiver.storage.outbox import Outbox, Outcome
from tests.harness import ship24
from tests.harness.rows import table_rows
from tests.harness.ship24 import Item
from tests.harness.storage import make_tables, update_rows
from tests.harness.store import NOW, Store, opened, outcomes
from tests.harness.strategies import arrivals
from tests.harness.table import each_row

_numbers = count(1)
_START = datetime(2025, 3, 1, 8)  # noqa: DTZ001  a courier's wall clock
FAR_AHEAD = "2027-01-01T10:00:00Z"
IMPLAUSIBLE = ship24.event("e0", FAR_AHEAD, order=99, status="never")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    with opened(database_url) as found:
        yield found


def version(message_id: str, event_id: str, hour: int, status: str, built: int | None, tracker: str = "t") -> Item:
    """Return a message with one event, its block saying the same as the event."""
    at = None if built is None else f"2025-03-02T00:00:{built:02}.000Z"
    event = ship24.event(event_id, (_START + timedelta(hours=hour)).isoformat(), status=status, statusMilestone=status)
    return ship24.item(message_id, tracker, [event], at, shipment={"statusMilestone": status})


def reasons(store: Store, *items: Item) -> list[str]:
    """Store each item in its own delivery."""
    found = [orjson.loads(store.keep(ship24.body(item))[0].body)["messages"][0] for item in items]
    return [" ".join(filter(None, (message["outcome"], message.get("reason")))) for message in found]


def tracker_of(store: Store, tracker_id: str = "t") -> dict[str, Any]:
    return queries.show_tracker(store.database, "ship24", tracker_id)


def timeline(store: Store, tracker_id: str = "t") -> set[tuple[str, str, bool]]:
    rows = tracker_of(store, tracker_id)["events"]
    return {(row["event_id"], row["status"], row["superseded"]) for row in rows}


# State is a function of the set of messages. Excluded: events of one time without an order (a tie keeps the first that arrived),
# mixes of forms of time that `newer` cannot put in a line, and copies of one messageId with other content (it takes effect once).


def oracle(items: list[Item]) -> tuple[Any, ...]:
    """Say what a tracker is after these messages: its latest event, its details, and its timeline."""

    def key(item: Item) -> tuple[str, str]:
        built = item["metadata"]["generatedAt"]
        return "" if built in {None, FAR_AHEAD} else built, item["metadata"]["messageId"]

    told = [(key(item), event) for item in items for event in item["events"] if event is not IMPLAUSIBLE]
    stands: dict[str, Item] = {}
    for _, event in sorted(told, key=lambda pair: pair[0]):
        stands[event["eventId"]] = event
    newest = max(stands.values(), key=lambda event: (event["occurrenceDatetime"], event["order"]))
    plausible = [item for item in items if IMPLAUSIBLE not in item["events"]]
    block = max(plausible, key=key)["shipment"]["statusMilestone"] if plausible else None
    versions = {(event["eventId"], event["status"], event != stands[event["eventId"]]) for _, event in told}
    return newest["eventId"], newest["status"], block, versions


@st.composite
def corrected(draw: st.DrawFn, tracker: str) -> list[Item]:
    """Messages about a few events, each of which may come several times with the same or other contents."""
    contents = [
        ship24.event(f"e{name}", f"2025-03-01T{hour:02}:00:00", order=10 * hour + name, status=f"e{name} at {hour}")
        for name in range(3)
        for hour in (8, 9, 10)
    ]
    items = []
    for number in range(draw(st.integers(1, 7))):
        events = draw(st.lists(st.sampled_from(contents), min_size=1, max_size=3, unique_by=lambda event: str(event["eventId"])))
        events += draw(st.sampled_from([[], [], [IMPLAUSIBLE]]))
        built = draw(st.sampled_from([None, FAR_AHEAD, *(f"2025-03-02T00:00:0{second}.000Z" for second in range(4))]))
        items.append(ship24.item(f"{tracker}-m{number}", tracker, events, built, shipment={"statusMilestone": f"m{number}"}))
    return items


@settings(max_examples=25)
@given(data=st.data())
def test_the_state_is_a_function_of_the_set_of_messages(store: Store, data: st.DataObject) -> None:
    tracker = f"set-{next(_numbers)}"
    items = data.draw(corrected(tracker))
    for batch in data.draw(arrivals(items)):
        assert all(answer.status == 200 for answer in store.keep(*batch))
    state = tracker_of(store, tracker)["tracker"]
    found = (state["latest_event_id"], state["status"], state["shipment_milestone"], timeline(store, tracker))
    assert found == oracle(items)
    assert set(outcomes(store.keep(ship24.body(*items))[0])) == {"duplicate"}


# Verdicts


def test_a_correction_that_comes_after_moves_the_tracker_and_the_earlier_version_stays(store: Store) -> None:
    first, second = version("m1", "e", 10, "out", 1), version("m2", "e", 14, "delivered", 2)
    assert reasons(store, first, second, second) == ["applied", "applied revised", "duplicate"]
    assert timeline(store) == {("e", "out", True), ("e", "delivered", False)}
    rows = {row["status"]: row["message_id"] for row in tracker_of(store)["events"]}
    assert rows == {"out": "m1", "delivered": "m2"}
    assert queries.show_message(store.database, "m1", ["ship24"])["events"][0]["superseded"] is True


def test_a_version_that_comes_after_its_own_correction_is_superseded(store: Store) -> None:
    first, second = version("m1", "e", 10, "out", 1), version("m2", "e", 14, "delivered", 2)
    assert reasons(store, second, first) == ["applied", "stale superseded"]
    assert timeline(store) == {("e", "out", True), ("e", "delivered", False)}
    assert tracker_of(store)["tracker"]["status"] == "delivered"


@each_row("order", list(permutations(range(3))), ids=str)
def test_content_that_comes_again_later_becomes_current_again(store: Store, order: tuple[int, ...]) -> None:
    store.clear()
    items = [version("m1", "e", 10, "out", 1), version("m2", "e", 14, "delivered", 2), version("m3", "e", 10, "out", 3)]
    reasons(store, *(items[place] for place in order))
    assert timeline(store) == {("e", "out", False), ("e", "delivered", True)}
    assert tracker_of(store)["tracker"]["status"] == "out"


def test_a_correction_that_takes_the_latest_event_back_moves_the_tracker_to_the_newest_that_is_left(store: Store) -> None:
    items = [version("m1", "a", 8, "sorted", 1), version("m2", "b", 12, "delivered", 2), version("m3", "b", 7, "label", 3)]
    assert reasons(store, *items) == ["applied", "applied", "stale older"]
    state = tracker_of(store)["tracker"]
    assert (state["latest_event_id"], state["status"], state["changes"]) == ("a", "sorted", 3)


def test_a_correction_of_an_event_that_is_not_the_latest_changes_the_timeline_alone(store: Store) -> None:
    items = [version("m1", "a", 8, "sorted", 1), version("m2", "b", 12, "delivered", 2), version("m3", "a", 9, "scanned", 3)]
    assert reasons(store, *items) == ["applied", "applied", "stale older"]
    assert timeline(store) == {("a", "sorted", True), ("a", "scanned", False), ("b", "delivered", False)}
    assert tracker_of(store)["tracker"]["changes"] == 2


def test_a_correction_that_is_implausible_changes_nothing(store: Store) -> None:
    bad = ship24.item("m2", "t", [ship24.event("e", FAR_AHEAD)], "2025-03-02T00:00:09.000Z", shipment={"statusMilestone": "x"})
    assert reasons(store, version("m1", "e", 10, "out", 1), bad) == ["applied", "quarantined implausible_future"]
    assert timeline(store) == {("e", "out", False)}
    assert tracker_of(store)["tracker"]["shipment_milestone"] == "out"


# What waits for a target


@pytest.fixture
def told(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    store = Store(database_url, [Subscription("shop")])
    yield store
    store.close()


def take_changes(store: Store) -> list[tuple[str, int, str | None, str | None]]:
    """Deliver all that waits; return id, number, old and new status of each."""
    outbox, taken, now = Outbox(store.database), [], 4_000_000_000_000_000
    for number in range(20):
        mark = f"relay.{number}"
        found = store.transactions.run(lambda c, m=mark: outbox.exchange(c, "shop", m, now, now + 1, 10)).claimed  # type: ignore[misc]
        taken += [(one.change.id, one.change.sequence, one.change.old_status, one.change.status) for one in found]
        ended = [Outcome(mark, one.change.source, one.change.tracker_id, one.change.sequence) for one in found]
        store.transactions.run(lambda c, e=ended: outbox.settle(c, "shop", now, e))  # type: ignore[misc]
    return taken


def test_each_change_reaches_a_target_as_it_was_however_its_event_was_corrected_since(told: Store) -> None:
    items = [version("m1", "a", 8, "sorted", 1), version("m2", "b", 12, "delivered", 2)]
    items += [
        version("m3", "b", 13, "handed over", 3),
        version("m4", "b", 7, "label", 4),
        version("m5", "b", 13, "handed over", 5),
    ]
    reasons(told, *items)
    changes = take_changes(told)
    assert [change[1:] for change in changes] == [
        (1, None, "sorted"),
        (2, "sorted", "delivered"),
        (3, "delivered", "handed over"),
        (4, "handed over", "sorted"),
        (5, "sorted", "handed over"),
    ]
    assert len({change[0] for change in changes}) == 5


def test_changes_have_the_same_ids_in_another_database(told: Store, tmp_path: Path) -> None:
    items = [version("m1", "a", 8, "sorted", 1), version("m2", "b", 12, "delivered", 2), version("m3", "b", 7, "label", 3)]
    url = f"sqlite:///{tmp_path}/again.db"
    make_tables(url)
    again = Store(url, [Subscription("shop")])
    try:
        for one in (told, again):
            reasons(one, *items)
        assert take_changes(told) == take_changes(again) != []
    finally:
        again.close()


def test_a_correction_of_what_no_change_tells_is_no_change(told: Store) -> None:
    one = ship24.item("m1", "t", [ship24.event("e", courierCode="a")], "2025-03-02T00:00:01.000Z")
    two = ship24.item("m2", "t", [ship24.event("e", courierCode="b")], "2025-03-02T00:00:02.000Z")
    assert reasons(told, one, two) == ["applied", "applied revised"]
    assert len(take_changes(told)) == 1
    assert {row["courier_code"]: row["superseded"] for row in tracker_of(told)["events"]} == {"a": True, "b": False}


# Implausible clocks, mended messages


def test_a_build_time_far_ahead_counts_as_absent(store: Store) -> None:
    ahead = version("m1", "e", 8, "sorted", None)
    ahead["metadata"]["generatedAt"] = FAR_AHEAD
    assert reasons(store, ahead, version("m2", "e", 9, "delivered", 1)) == ["applied", "applied revised"]
    assert tracker_of(store)["tracker"]["shipment_milestone"] == "delivered"


def test_a_message_in_which_one_event_is_implausible_brings_no_details(store: Store) -> None:
    mixed = version("m2", "b", 9, "delivered", 2)
    mixed["events"].append(ship24.event("c", FAR_AHEAD))
    assert reasons(store, version("m1", "a", 8, "sorted", 1), mixed) == ["applied", "applied"]
    state = tracker_of(store)["tracker"]
    assert (state["status"], state["shipment_milestone"], state["milestone_differs"]) == ("delivered", "sorted", True)


def test_a_message_in_quarantine_that_comes_mended_is_decided_and_its_earlier_copy_stays_on_record(store: Store) -> None:
    bad, good = ship24.item("m", "t", [ship24.event("e", FAR_AHEAD)]), ship24.item("m", "t", [ship24.event("e")])
    assert reasons(store, bad, bad, good, bad) == [
        *("quarantined implausible_future", "duplicate", "applied", "duplicate content_differs"),
    ]
    url = store.database.url.render_as_string(hide_password=False)
    rows = table_rows(url, "sightings", "outcome", "reason", order="delivery_id")
    assert [row["outcome"] for row in rows].count("quarantined") == 1
    assert table_rows(url, "messages", "outcome") == [{"outcome": "applied"}]


def test_a_part_in_quarantine_that_comes_mended_is_decided(store: Store) -> None:
    def item(second: str) -> Item:
        return ship24.item("m", "t", [ship24.event("a"), ship24.event("b", second)])

    assert reasons(store, item("soon"), item("2025-03-02"), item("2025-03-03")) == [
        "applied",
        "applied",
        "duplicate content_differs",
    ]
    assert tracker_of(store)["tracker"]["latest_event_id"] == "b"


@each_row("size", [1, 2, 3])
@each_row("order", list(permutations(range(3))), ids=str)
def test_a_mended_message_has_the_same_effect_in_any_order_and_grouping(store: Store, order: tuple[int, ...], size: int) -> None:
    store.clear()
    at = "2025-03-02T00:00:05.000Z"
    bad = ship24.item("m", "t", [ship24.event("e", "soon")], at, shipment={"statusMilestone": "wrong"})
    good = ship24.item("m", "t", [ship24.event("e", status="out")], at, shipment={"statusMilestone": "right"})
    items = [bad, good, version("m0", "a", 1, "label", 1)]
    items = [items[place] for place in order]
    for start in range(0, 3, size):
        store.keep(ship24.body(*items[start : start + size]))
    assert set(outcomes(store.keep(ship24.body(*items))[0])) == {"duplicate"}
    state = tracker_of(store)["tracker"]
    assert (state["latest_event_id"], state["shipment_milestone"]) == ("e", "right")
    assert timeline(store) == {("a", "label", False), ("e", "out", False)}
    assert queries.show_message(store.database, "m", ["ship24"])["outcome"] == "applied"


@each_row("built", [3, 5, 7], ids=["before its earlier copy", "with it", "after it"])
@each_row("order", list(permutations(range(3))), ids=str)
def test_a_mended_message_replaces_its_own_events_and_details_in_any_order(
    store: Store, order: tuple[int, ...], built: int
) -> None:
    store.clear()
    at = [f"2025-03-02T00:00:{seconds:02}.000Z" for seconds in (5, built)]
    first, second = ship24.event("e", "2025-03-01T12:00:00", status="out"), ship24.event("e", "2025-03-01T11:00:00", status="in")
    blocks = [{"statusMilestone": milestone} for milestone in ("wrong", "right")]
    bad = ship24.item("m", "t", [first, ship24.event("f", "soon")], at[0], shipment=blocks[0])
    mended = [second, ship24.event("f", "2025-03-01T09:00:00", status="label"), first]
    good = ship24.item("m", "t", mended, at[1], shipment=blocks[1])
    items = [bad, good, version("m0", "e", 1, "early", 1)]
    reasons(store, *(items[place] for place in order))
    state = tracker_of(store)
    assert [state["tracker"][name] for name in ("latest_event_id", "status", "shipment_milestone")] == ["e", "in", "right"]
    versions = {("e", "in", False), ("e", "out", True), ("e", "early", True), ("f", "label", False)}
    assert timeline(store) == versions
    (why,) = {row["correction"] for row in state["events"] if row["event_id"] == "e"}
    assert "that of its corrected copy counts" in why


@each_row("together", ["a group", "a batch", "batches"])
@each_row("order", list(permutations(range(3))), ids=str)
def test_a_revision_beside_the_event_that_it_corrects(store: Store, order: tuple[int, ...], together: str) -> None:
    store.clear()
    items = [version("m1", "e", 10, "out", 1), version("m2", "e", 14, "delivered", 2), version("m3", "f", 12, "scanned", 0)]
    sent = [items[place] for place in order]
    bodies = [ship24.body(*sent)] if together == "a group" else [ship24.body(item) for item in sent]
    for batch in [[body] for body in bodies] if together == "batches" else [bodies]:
        store.keep(*batch)
    state = tracker_of(store)["tracker"]
    assert (state["latest_event_id"], state["status"], state["shipment_milestone"]) == ("e", "delivered", "delivered")
    assert timeline(store) == {("e", "out", True), ("e", "delivered", False), ("f", "scanned", False)}


def test_the_field_case_of_a_corrected_event_is_a_revision(store: Store) -> None:
    def item(number: int) -> Item:
        event = ship24.event("e1", f"2026-11-20T1{4 * number}:00:00", statusMilestone=f"s{number}", order=5 + number)
        return ship24.item(f"field-corr-{number}", "corr1", [event], f"2024-11-20T{5 + 10 * number:02}:00:00Z")

    items = [item(0), item(1)]
    for each in items:
        each["events"][0]["occurrenceDatetime"] = each["events"][0]["occurrenceDatetime"].replace("2026", "2024")
    assert reasons(store, *items) == ["applied", "applied revised"]
    assert NOW.year == 2025
    assert json.loads(json.dumps(tracker_of(store, "corr1")["tracker"]))["status_milestone"] == "s1"


def test_a_message_that_named_no_tracker_comes_mended_and_is_decided(store: Store) -> None:
    bad, good = ship24.item("m", "t", [ship24.event("e")]), ship24.item("m", "t", [ship24.event("e")])
    bad["tracker"]["trackerId"] = None
    assert reasons(store, bad, good, good) == ["quarantined missing_tracker_id", "applied", "duplicate"]
    assert tracker_of(store)["tracker"]["latest_event_id"] == "e"


def test_details_that_an_earlier_version_stored_with_a_clock_far_ahead_are_overtaken(store: Store) -> None:
    reasons(store, version("m1", "a", 8, "sorted", 1))
    url = store.database.url.render_as_string(hide_password=False)
    update_rows(url, "trackers", snapshot_generated_at=to_micros(datetime.fromisoformat(FAR_AHEAD)))
    reasons(store, version("m2", "b", 9, "delivered", 2))
    assert tracker_of(store)["tracker"]["shipment_milestone"] == "delivered"
