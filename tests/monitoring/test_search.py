"""One search for everything: whole names first, then beginnings and ends."""

import json
from collections.abc import Iterator

import pytest

from receiver.monitoring.search import search_everything
from receiver.sources import NAMES
from receiver.storage import queries
from tests.harness.ship24 import body, item
from tests.harness.storage import add_row, make_tables
from tests.harness.store import Store, opened


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    make_tables(sqlite_url)
    with opened(sqlite_url) as opened_store:
        yield opened_store


def keep_parcel(store: Store, tracker_id: str, number: str, message_id: str | None = None) -> None:
    store.keep(body(item(message_id, tracker_id=tracker_id, tracker={"trackerId": tracker_id, "trackingNumber": number})))


def hits(store: Store, text: str, limit: int = 10) -> list[tuple[str, str]]:
    found = search_everything(store.database, text, limit).hits()
    return [
        (kind, str(row.get("tracker_id") if kind == "tracker" else row.get("message_id") or row.get("id"))) for kind, row in found
    ]


def test_a_whole_name_hides_what_only_starts_with_it(store: Store) -> None:
    keep_parcel(store, "one", "AB123456")
    keep_parcel(store, "two", "AB1234567")
    assert hits(store, "ab123456") == [("tracker", "one")]
    assert hits(store, "AB12345") == [("tracker", "one"), ("tracker", "two")]
    assert hits(store, "123456") == [("tracker", "one")]
    assert hits(store, "nothing-such") == []


def test_what_starts_and_what_ends_with_a_text_stands_once(store: Store) -> None:
    keep_parcel(store, "both", "778899-778899")
    keep_parcel(store, "end", "XX778899")
    assert hits(store, "778899") == [("tracker", "both"), ("tracker", "end")]


def test_messages_and_deliveries_are_found_beside_trackers(store: Store) -> None:
    keep_parcel(store, "same", "N-1", message_id="same")
    assert hits(store, "SAME") == [("tracker", "same"), ("message", "same")]
    (delivery,) = queries.list_deliveries(store.database, queries.DeliveryFilter(), NAMES).items
    assert hits(store, delivery["id"]) == hits(store, delivery["id"][:9]) == [("delivery", delivery["id"])]


def test_a_tracker_is_found_by_its_source_and_whole_id(store: Store) -> None:
    keep_parcel(store, "one", "N-1")
    assert hits(store, "ship24/one") == [("tracker", "one")]
    assert search_everything(store.database, "ship24/one", 10).is_exact
    for text in ("ship24/on", "shiipp/one", "elsewhere/one"):
        assert hits(store, text) == [], text


def test_customers_are_found_by_their_code_in_any_case_and_by_their_name(store: Store) -> None:
    add_row(store.database.url.render_as_string(), "customer_imports", id="list", imported_at=1, customers=3, body_bytes=9)
    for code, name in (("ab1", "Anna"), ("AB1", "Bea"), ("AB12", "Cleo")):
        document = json.dumps({"UserCode": code, "FirstName": name})
        add_row(store.database.url.render_as_string(), "customers", import_id="list", user_code=code, document=document)
    for text, codes in (("Ab1", ["AB1", "ab1"]), ("AB12", ["AB12"]), ("cleo", ["AB12"]), ("b1", ["AB1", "AB12", "ab1"])):
        found = search_everything(store.database, text, 10)
        assert [customer["UserCode"] for customer in found.customers] == codes, text
        assert found.hits() == [("customer", customer) for customer in found.customers]


def test_a_kind_has_as_many_hits_as_the_limit_and_says_that_there_are_more(store: Store) -> None:
    for number in range(3):
        keep_parcel(store, f"t-{number}", f"NUMBER-{number}")
    found = search_everything(store.database, "number-", 2)
    assert (len(found.trackers), found.has_more, found.is_exact) == (2, True, False)
    assert not search_everything(store.database, "number-", 3).has_more
    for number in range(3):
        keep_parcel(store, f"same-{number}", "the same")
    found = search_everything(store.database, "the same", 2)
    assert (len(found.trackers), found.has_more, found.is_exact) == (2, True, True)
