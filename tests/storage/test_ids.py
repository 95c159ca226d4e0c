"""Trackers by the end of a number, messages and deliveries by the beginning of an id, on both databases."""

from collections.abc import Iterator

import pytest

from receiver.clock import new_id
from receiver.errors import Ambiguous
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.queries.ids import span_uuids
from tests.harness.ship24 import body, item, single
from tests.harness.storage import make_tables
from tests.harness.store import NOW, Store, opened
from tests.harness.table import each_row

UUID = "248e5a70-278a-4d50-951d-e7c63f8c51c5"


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    with opened(database_url) as opened_store:
        yield opened_store


def keep_parcel(store: Store, tracker_id: str, number: str, reference: str | None = None) -> None:
    names = {"trackerId": tracker_id, "trackingNumber": number, "clientTrackerId": reference}
    store.keep(body(item(tracker_id=tracker_id, tracker=names)))


def by_ending(store: Store, ending: str, limit: int = 10) -> list[str]:
    return [row["tracker_id"] for row in queries.list_by_ending(store.database, ending, limit)]


def test_a_tracker_is_found_by_the_end_of_each_of_its_names(store: Store) -> None:
    keep_parcel(store, "one", "RR123456789CN", "order-2026-777")
    keep_parcel(store, "two", "RR999456789CN")
    keep_parcel(store, "six", "56789C")
    expected = {
        "456789CN": ["one", "two"],
        "3456789cn": ["one"],
        "6789CN": ["one", "two"],
        "RR123456789CN": ["one"],
        "XRR123456789CN": [],
        "26-777": ["one"],
        "56789c": ["six"],
        "789CN": [],
        "9CN": [],
    }
    assert {ending: by_ending(store, ending) for ending in expected} == expected
    assert by_ending(store, "6789CN", limit=1) == ["one"]
    assert by_ending(store, "6789%N") == by_ending(store, "6789_N") == by_ending(store, "\0678\ud800") == []


@each_row(
    ("beginning", "span"),
    [
        ("248E5A", ("248e5a00-0000-0000-0000-000000000000", "248e5aff-ffff-ffff-ffff-ffffffffffff")),
        ("248e5a70-2", ("248e5a70-2000-0000-0000-000000000000", "248e5a70-2fff-ffff-ffff-ffffffffffff")),
        (UUID, (UUID, UUID)),
        ("248e5", None),
        ("248e5a7x", None),
        ("248e5a702", None),
        (f"{UUID}0", None),
        ("", None),
    ],
)
def test_the_beginning_of_a_uuid_is_a_span_of_whole_ones(beginning: str, span: tuple[str, str] | None) -> None:
    assert span_uuids(beginning) == span


def test_a_message_is_found_by_its_id_in_any_case_and_by_its_beginning(store: Store) -> None:
    other = UUID.replace("278a", "378a")
    store.keep(single(UUID), single(other), single("own-id"))

    def whole(text: str) -> list[str]:
        return [row["message_id"] for row in queries.find_messages(store.database, text, NAMES, 10)]

    def starting(text: str) -> list[str]:
        return [row["message_id"] for row in queries.find_starting_messages(store.database, text, NAMES, 10)]

    assert whole(UUID.upper()) == [UUID]
    assert whole("own-id") == ["own-id"]
    assert whole(UUID[:-1]) == whole("\0") == []
    assert starting("248e5a70") == starting("248E5A") == [UUID, other]
    assert starting("248e5a70-2") == [UUID]
    assert starting("own-id") == []


def test_a_delivery_id_is_completed_if_one_delivery_starts_with_it(store: Store) -> None:
    store.keep(single("a"), single("b"))
    first, second = sorted(row["id"] for row in queries.list_deliveries(store.database, queries.DeliveryFilter(), NAMES).items)
    common = next(length for length in range(36) if first[length] != second[length])
    assert queries.complete_delivery_id(store.database, first[: common + 1].upper()) == first
    assert queries.complete_delivery_id(store.database, second) == second
    assert queries.complete_delivery_id(store.database, "nothing") == "nothing"
    with pytest.raises(Ambiguous, match="matches 2 deliveries"):
        queries.complete_delivery_id(store.database, new_id(NOW)[:8])
