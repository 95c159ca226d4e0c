"""The search for a person in the names and the shipment data of a tracker."""

from typing import Any

import orjson

from receiver.domain.persons import find_person
from tests.harness.table import each_row

SHIPMENT = {"recipient": {"name": "Jörg MÜLLER", "address": {"lines": ["1 High Street", "Leeds"]}, "age": 41}, "is_new": True}


def tracker(shipment: Any = SHIPMENT) -> dict[str, Any]:
    written = None if shipment is None else orjson.dumps(shipment).decode()
    names = {"tracking_number": "LZ1", "client_tracker_id": "JAM0001", "shipment_reference": None, "tracker_id": "some-id"}
    return {**names, "shipment": written}


@each_row(
    ("term", "paths"),
    [
        ("müller", ["shipment.recipient.name"]),
        ("MÜLLER leeds", ["shipment.recipient.name", "shipment.recipient.address.lines.1"]),
        ("jam0001", ["client_tracker_id"]),
        ("lz1 jörg", ["tracking_number", "shipment.recipient.name"]),
        ("41", ["shipment.recipient.age"]),
        ("müller york", None),
        ("true", None),
        ("", None),
        (" ", None),
    ],
)
def test_all_words_of_a_term_must_be_there(term: str, paths: list[str] | None) -> None:
    found = find_person(tracker(), term)
    assert (None if found is None else list(found)) == paths


def test_without_shipment_data_the_names_are_searched_and_at_most_five_fields_shown() -> None:
    assert find_person(tracker(None), "müller") is None
    assert find_person(tracker(None), "lz1") == {"tracking_number": "LZ1"}
    assert len(find_person(tracker({"a": ["x"] * 20}), "x") or {}) == 5


def test_deep_data_is_searched_too() -> None:
    deep: Any = "needle"
    for _ in range(100):
        deep = [deep]
    assert find_person(tracker({"a": deep}), "needle") is not None
