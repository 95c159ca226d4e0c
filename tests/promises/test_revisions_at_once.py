"""Corrections that two processes receive at once end in the same state as one after the other."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from receiver.storage import queries
from tests.harness import ship24
from tests.harness.rows import table_rows
from tests.harness.ship24 import Item
from tests.harness.storage import make_tables
from tests.harness.store import Store, opened, outcomes
from tests.storage.test_revisions import oracle, timeline, tracker_of, version

_ROUNDS = 12


@pytest.fixture
def two(postgresql_url: str) -> Iterator[tuple[Store, Store]]:
    make_tables(postgresql_url)
    with opened(postgresql_url) as one, opened(postgresql_url) as other:
        yield one, other


def keep_at_once(stores: tuple[Store, Store], *items: Item) -> list[str]:
    """Let each process keep one item at the same time; return what became of them. Each is answered 200."""
    barrier = Barrier(2)

    def keep(store: Store, item: Item) -> list[str]:
        barrier.wait()
        return outcomes(store.keep(ship24.body(item))[0])

    with ThreadPoolExecutor(2) as pool:
        return [outcome for found in pool.map(keep, stores, items) for outcome in found]


def check(store: Store, tracker: str, items: Sequence[Item]) -> None:
    """Check that a tracker is what these messages make of it, and that its changes are numbered without a gap."""
    state = tracker_of(store, tracker)["tracker"]
    found = (state["latest_event_id"], state["status"], state["shipment_milestone"], timeline(store, tracker))
    assert found == oracle(list(items))
    url = store.database.url.render_as_string(hide_password=False)
    assert table_rows(url, "quarantine", reason="undecidable") == []
    tables = ("events", "superseded_events", "kept_changes")
    moves = {row["move"] for table in tables for row in table_rows(url, table, "move", tracker_id=tracker)} - {None}
    assert moves == set(range(1, state["changes"] + 1))


@pytest.mark.parametrize("known", [True, False])
def test_two_revisions_of_an_event_at_once(two: tuple[Store, Store], known: bool) -> None:
    for number in range(_ROUNDS):
        tracker = f"t{number}"
        first = [version(f"{tracker}-1", "e", 10, "out", 1, tracker)] if known else []
        for item in first:
            two[0].keep(ship24.body(item))
        both = [version(f"{tracker}-{each}", "e", 10 + each, f"s{each}", each, tracker) for each in (2, 3)]
        found = keep_at_once(two, *(both if number % 2 else reversed(both)))
        assert set(found) <= {"applied", "stale"}
        check(two[0], tracker, [*first, *both])


@pytest.mark.parametrize("hour", [7, 20])
def test_a_revision_and_a_newer_event_at_once(two: tuple[Store, Store], hour: int) -> None:
    for number in range(_ROUNDS):
        tracker = f"t{number}"
        first = [version(f"{tracker}-0", "a", 8, "sorted", 0, tracker), version(f"{tracker}-1", "e", 10, "out", 1, tracker)]
        two[0].keep(ship24.body(*first))
        both = [
            version(f"{tracker}-2", "e", hour, "revised", 2, tracker),
            version(f"{tracker}-3", "f", 12, "scanned", 3, tracker),
        ]
        keep_at_once(two, *(both if number % 2 else reversed(both)))
        check(two[0], tracker, [*first, *both])


@pytest.mark.parametrize("same", [True, False])
def test_a_mended_message_at_once_takes_effect_once(two: tuple[Store, Store], same: bool) -> None:
    for number in range(_ROUNDS):
        tracker = f"t{number}"
        two[0].keep(ship24.body(ship24.item(tracker, tracker, [ship24.event("e", "soon")])))
        both = [version(tracker, "e", hour, f"at {hour}", 1, tracker) for hour in ((9, 9) if same else (9, 10))]
        assert sorted(keep_at_once(two, *both)) == ["applied", "duplicate"]
        assert len(timeline(two[0], tracker)) == tracker_of(two[0], tracker)["tracker"]["changes"] == 1
        assert queries.show_message(two[0].database, tracker, ["ship24"])["outcome"] == "applied"


def test_new_details_at_once_are_those_that_were_built_last(two: tuple[Store, Store]) -> None:
    for number in range(_ROUNDS):
        tracker = f"t{number}"
        first = version(f"{tracker}-1", "e", 10, "out", 1, tracker)
        two[0].keep(ship24.body(first))
        both = [{**version(f"{tracker}-{each}", "e", 10, f"s{each}", each, tracker), "events": []} for each in (2, 3)]
        assert keep_at_once(two, *(both if number % 2 else reversed(both))) == ["recorded", "recorded"]
        check(two[0], tracker, [first, *both])
