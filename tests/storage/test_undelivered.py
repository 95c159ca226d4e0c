"""Trackers with a change that a target did not get."""

from collections.abc import Iterator

import pytest

from receiver.domain.changes import Subscription
from receiver.storage.outbox import Acknowledgement, Outcome
from receiver.storage.queries import TrackerFilter, list_trackers
from receiver.writer.commands.changes import ExchangeChanges
from tests.harness import ship24
from tests.harness.storage import make_tables
from tests.harness.store import NOW, Store

_NOW = int(NOW.timestamp() * 1_000_000)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """Give trackers `a` to `e` with two changes each: `b` was delivered, the first change of `c` failed for good."""
    make_tables(database_url)
    opened = Store(database_url, [Subscription("shop"), Subscription("late")])
    for hour in (1, 2):
        event = ship24.event(f"e{hour}", occurrence=f"2025-03-01T{hour:02}:00:00")
        opened.keep(*(ship24.body(ship24.item(tracker_id=tracker, events=[event])) for tracker in "abcde"))
    for _ in range(2):
        claimed = opened.executor.do(ExchangeChanges("shop", "relay.1", _NOW, _NOW + 1, 9)).claimed
        outcomes = []
        for one in claimed:
            taken = Acknowledgement(one.change.id, 1, 200)
            if one.change.tracker_id == "b":
                outcomes.append(Outcome(one.mark, *one.change.stored_key, acknowledgement=taken))
            elif one.change.tracker_id == "c" and one.change.sequence == 1:
                outcomes.append(Outcome(one.mark, *one.change.stored_key, "shop answered 500."))
        opened.executor.do(ExchangeChanges("shop", "none", _NOW, _NOW, 0, outcomes))
    yield opened
    opened.close()


def read(store: Store, wanted: TrackerFilter, limit: int = 50) -> str:
    found, cursor = [], None
    while True:
        page = list_trackers(store.database, wanted, limit, cursor)
        assert len(page.items) <= limit
        found += [item["tracker_id"] for item in page.items]
        cursor = page.next
        if cursor is None:
            return "".join(found)


def test_trackers_are_found_by_the_target_that_did_not_get_a_change(store: Store) -> None:
    shop = TrackerFilter(not_delivered_to="shop")
    assert [read(store, shop, limit) for limit in (1, 2, 4, 50)] == ["acde"] * 4
    assert read(store, TrackerFilter(not_delivered_to="late")) == "abcde"
    assert read(store, TrackerFilter(not_delivered_to="nobody")) == ""
    assert read(store, shop._replace(source="shiipp")) == ""
    assert [read(store, shop._replace(test=True), limit) for limit in (1, 50)] == ["", ""]
    assert [read(store, shop._replace(test=False), limit) for limit in (1, 50)] == ["acde"] * 2
    assert read(store, shop._replace(moved_before=1)) == ""


def test_a_search_is_narrowed_too(store: Store) -> None:
    assert read(store, TrackerFilter("c", not_delivered_to="shop")) == "c"
    assert read(store, TrackerFilter("b", not_delivered_to="shop")) == ""
    assert read(store, TrackerFilter("b", not_delivered_to="late")) == "b"
