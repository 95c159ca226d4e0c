"""Shiipp's bodies of free design: the fields that are found, and the identity of a message."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from receiver.domain.reading import MAX_ITEMS
from receiver.domain.records import Link, Message
from receiver.errors import InvalidJson, UnexpectedShape
from receiver.sources.field_paths import FieldPaths
from receiver.sources.shiipp import PACKAGE_FIELDS, identify, map_item, split
from tests.harness.table import each_row

PAYLOADS = Path(__file__).parents[1] / "payloads" / "shiipp"
PACKAGE, MANIFEST = "new-package", "manifest-status"
UUID = "5b0c1a52-7f0e-4a55-9a5c-0d6e1f2a3b4c"


def read(name: str, field_paths: FieldPaths | None = None) -> list[Message]:
    kind = MANIFEST if name.startswith(("manifest", "unknown")) else PACKAGE
    return split(kind, field_paths or {}, (PAYLOADS / f"{name}.json").read_bytes())


def read_one(kind: str, item: Any, field_paths: FieldPaths | None = None) -> Message:
    (message,) = split(kind, field_paths or {}, orjson.dumps(item))
    return message


def details(message: Message) -> Any:
    assert message.snapshot is not None
    return orjson.loads(message.snapshot.shipment or "null")


FOUND = {  # tracker id, message id (None: by state), time of the event
    "object_root": [(UUID, f"package:{UUID}", "2025-03-01T10:00:00-05:00")],
    "array_root": [
        ("pkg-a", "package:pkg-a", "2025-03-01T10:00:00Z"),
        ("pkg-b", "package:pkg-b", "2025-03-01T10:00:01Z"),
    ],
    "nested_keys": [("pkg-nested", "package:pkg-nested", None)],
    "pascal_case": [("pkg-pascal", "package:pkg-pascal", "2025-03-01T10:00:00.1234567-05:00")],
    "camel_case": [("pkg-camel", "package:pkg-camel", "2025-03-01T10:00:00")],
    "literal_variable": [("package:TN-LITERAL", None, None)],
    "text_weight": [("pkg-text-weight", "package:pkg-text-weight", None)],
    "blank_user_code": [("pkg-unknown", "package:pkg-unknown", None)],
    "tracking_number_only": [("package:TN-ONLY", None, None)],
    "package_and_manifest": [("pkg-linked", "package:pkg-linked", None)],
    "manifest_with_packages": [("manifest:man-1", None, None)],
    "manifest_without_time": [("manifest:MAN-20240115-A3B2", None, None)],
    "manifest_with_time": [("manifest:man-timed", "manifest:man-timed:ready@2025-03-01T10:00:00Z", "2025-03-01T10:00:00Z")],
    "unknown_status": [("manifest:man-odd", None, None)],
}


@each_row(("name", "expected"), FOUND.items(), ids=FOUND.keys())
def test_who_and_when_is_found_in_every_body(name: str, expected: list[tuple[str, str | None, str | None]]) -> None:
    messages = read(name)
    assert [(m.tracker_id, m.message_id, m.events[0].occurrence) for m in messages] == expected
    assert [m.is_anonymous for m in messages] == [message_id is None for _, message_id, _ in expected]
    assert {m.quarantine_reason for m in messages} == {None}
    assert [m.position for m in messages] == list(range(len(expected)))


@each_row(
    ("name", "numbers"),
    [
        ("object_root", ("1Z999AA10123456784", "CUST001", "HAWB-0042")),
        ("nested_keys", ("TN-NESTED", "CUST002", None)),
        ("pascal_case", ("TN-PASCAL", "CUST003", None)),
        ("camel_case", ("TN-CAMEL", "CUST004", None)),
        ("blank_user_code", ("TN-UNKNOWN", None, None)),
        ("literal_variable", ("TN-LITERAL", None, None)),
        ("manifest_without_time", ("MAN-20240115-A3B2", None, "810-12345675")),
    ],
)
def test_a_tracker_is_found_by_its_numbers(name: str, numbers: tuple[str | None, ...]) -> None:
    (message,) = read(name)
    assert message.snapshot is not None
    assert message.snapshot[:3] == numbers


def test_a_package_is_received_and_a_manifest_has_the_status_that_came() -> None:
    package, manifest, odd = read("object_root")[0], read("manifest_without_time")[0], read("unknown_status")[0]
    states = [(m.subject, m.topic, m.events[0].status, m.events[0].status_milestone) for m in (package, manifest, odd)]
    assert states == [
        ("package", PACKAGE, "received at warehouse", "received_at_warehouse"),
        ("manifest", MANIFEST, "shipped", "shipped"),
        ("manifest", MANIFEST, "Held At Customs", "held at customs"),
    ]


@each_row("name", ["tracking_no", "TrackingNumber", "trackingNo", "tracking", "TN", "tracking_id"])
def test_the_usual_names_of_a_tracking_number_are_known(name: str) -> None:
    assert read_one(PACKAGE, {name: "x1"}).tracker_id == "package:X1"


# Identity

AT = "2025-03-01T10:00:00Z"
RULES = {
    "package: message id before all": (PACKAGE, {"message_id": "m", "package_id": "p", "tracking_number": "t"}, ("p", "m")),
    "package: id before number": (PACKAGE, {"package_id": "p", "tracking_number": "t", "entry_time": AT}, ("p", "package:p")),
    "package: number with time": (PACKAGE, {"tracking_number": "t", "entry_time": AT}, ("package:T", f"package:T@{AT}")),
    "package: number alone": (PACKAGE, {"tracking_number": "t"}, ("package:T", None)),
    "package: message id and number": (PACKAGE, {"message_id": "m", "tracking_number": "t"}, ("package:T", "m")),
    "package: number that is a number": (PACKAGE, {"tracking_number": 9400111}, ("package:9400111", None)),
    "package: message id alone": (PACKAGE, {"message_id": "m"}, None),
    "package: time alone": (PACKAGE, {"entry_time": AT}, None),
    "manifest: message id before all": (
        MANIFEST,
        {"message_id": "m", "manifest_id": "i", "status": "s", "timestamp": AT},
        ("manifest:i", "m"),
    ),
    "manifest: id before number": (MANIFEST, {"manifest_id": "i", "manifest_number": "n", "status": "s"}, ("manifest:i", None)),
    "manifest: number": (MANIFEST, {"manifest_number": "n", "status": "s"}, ("manifest:n", None)),
    "manifest: with time": (
        MANIFEST,
        {"manifest_number": "n", "status": "s", "timestamp": AT},
        ("manifest:n", f"manifest:n:s@{AT}"),
    ),
    "manifest: no status": (MANIFEST, {"manifest_id": "i", "timestamp": AT}, None),
    "manifest: status only": (MANIFEST, {"status": "s", "timestamp": AT}, None),
}


@each_row(("kind", "item", "expected"), RULES.values(), ids=RULES.keys())
def test_what_names_a_message(kind: str, item: dict[str, Any], expected: tuple[str, str | None] | None) -> None:
    found = identify(kind, map_item(kind, {}, item))
    assert (None if found is None else (found.tracker_id, found.message_id)) == expected
    message = read_one(kind, item)
    assert message.quarantine_reason == ("unmapped" if expected is None else None)
    assert message.is_anonymous == (expected is not None and expected[1] is None)


def test_the_date_of_something_else_is_not_the_time_of_a_status() -> None:
    for other in ({"flight": {"date": "2025-03-03"}}, {"flight_date": "2025-03-03"}):
        message = read_one(MANIFEST, {"manifest_id": "i", "status": "shipped", **other})
        assert (message.is_anonymous, message.events[0].occurrence) == (True, None)


def test_a_bare_date_cannot_tell_two_changes_of_a_day_apart_so_it_names_no_message() -> None:
    message = read_one(MANIFEST, {"manifest_id": "i", "status": "shipped", "status_date": "2025-03-03"})
    assert message.is_anonymous


def test_identities_of_any_length_stay_short_enough_for_an_index() -> None:
    long = "".join(chr(0x1F300 + number % 700) for number in range(200))
    package = read_one(PACKAGE, {"tracking_number": long, "entry_time": long})
    manifest = read_one(MANIFEST, {"manifest_id": long, "status": long, "timestamp": f"10:00 {long}"})
    endless = read_one(MANIFEST, {"manifest_id": "x" * 10_000, "status": "x" * 10_000, "timestamp": "10:00" + "x" * 10_000})
    for message in (package, manifest, endless):
        assert message.tracker_id is not None
        assert message.message_id is not None
        assert len(message.tracker_id) <= 250
        assert len(message.message_id) <= 250


# Unmapped


@each_row("name", ["missing_identity", "empty_strings"])
def test_an_unmapped_item_names_keys_and_fields_but_never_values(name: str) -> None:
    (message,) = read(name)
    assert (message.quarantine_reason, message.message_id, message.tracker_id) == ("unmapped", None, None)
    assert message.detail is not None
    item = json.loads((PAYLOADS / f"{name}.json").read_bytes())
    for word in (*item, "package_id", "tracking_number", "packageid"):
        assert word in message.detail
    assert "SECRET-CODE" not in message.detail
    assert "vermilion" not in message.detail


def test_an_unmapped_manifest_names_only_what_is_missing_and_the_field_paths_of_the_settings() -> None:
    message = read_one(MANIFEST, {"number": "MAN-1", "status": "ready"}, {"manifest_id": ("data.ref", "/x/0")})
    assert message.detail is not None
    assert "manifest_id (as data.ref, /x/0)" in message.detail
    assert "status (" not in message.detail
    assert "MAN-1" not in message.detail


@each_row("value", [True, [], ["x"], 1.5])
def test_an_identity_of_a_wrong_type_is_named_as_looked_for(value: object) -> None:
    message = read_one(PACKAGE, {"package_id": value})
    assert message.quarantine_reason == "unmapped"
    assert "package_id (" in (message.detail or "")


def test_of_many_keys_some_are_named() -> None:
    message = read_one(PACKAGE, {f"key{number}": number for number in range(1000)})
    assert len(message.detail or "") < 1000
    long = read_one(PACKAGE, {"k" * 100_000: 1})
    assert len(long.detail or "") < 5000


# Weights and times


@each_row(
    ("weight", "pounds"),
    [
        *((3.5, 3.5), (4, 4.0), ("3.5", 3.5), (" 3.5 ", 3.5), ("1,234.5 lbs", 1234.5), ("2 LB", 2.0), ("7pounds", 7.0)),
        *((".5", 0.5), ("heavy", None), ("-1", None), ("1.2.3", None), ("²", None), (True, None), ("1e3", None), ([1], None)),
    ],
)
def test_a_weight_is_kept_as_it_came_and_read_in_pounds_where_it_can_be(weight: object, pounds: float | None) -> None:
    found = details(read_one(PACKAGE, {"package_id": "p", "weight": weight}))
    assert (found["weight"], found["weight_pounds"]) == (weight, pounds)


TIMES = ("2025-03-01T10:00:00", "2025-03-01T10:00:00+02:00", "2025-03-01T10:00:00.000Z", "2025-03-01")
SEVEN = ("2025-03-01T10:00:00.1234567", "2025-03-01T10:00:00.1234567-05:00", "2025-03-01 10:00:00.1234567Z")


@each_row("time", [*TIMES, *SEVEN])
def test_a_time_is_kept_as_it_was_written(time: str) -> None:
    package = read_one(PACKAGE, {"package_id": "p", "EntryDateTime": time})
    assert package.events[0].occurrence == details(package)["entry_time"] == time
    assert package.generated_at is None  # it is no clock of the sender's: arrival decides between details
    assert read_one(MANIFEST, {"manifest_id": "i", "status": "s", "time_stamp": time}).events[0].occurrence == time


@each_row("time", ["01/03/2025 10:00", "yesterday", 1_740_823_200, "2025-02-30", "2025-03-01T25:00:00"])
def test_a_time_that_cannot_be_read_gives_way_to_arrival_and_is_kept(time: object) -> None:
    package = read_one(PACKAGE, {"package_id": "p", "entry_time": time})
    assert (package.quarantine_reason, package.events[0].occurrence, package.events[0].ordered_by_arrival) == (None, None, True)
    assert details(package)["entry_time"] == time


# Links


def test_a_package_that_names_its_manifest_is_linked_to_it() -> None:
    assert read("package_and_manifest")[0].links == (Link("pkg-linked", "manifest:man-1"),)
    assert read_one(PACKAGE, {"package_id": "p", "manifest_number": "n"}).links == (Link("p", "manifest:n"),)
    assert read("object_root")[0].links == ()


def test_a_manifest_that_names_packages_is_linked_to_each_once() -> None:
    expected = [Link(package, "manifest:man-1") for package in ("pkg-linked", "package:TN-ONLY", "pkg-plain")]
    assert list(read("manifest_with_packages")[0].links) == expected
    doubled = read_one(
        MANIFEST, {"manifest_id": "i", "status": "s", "packages": ["a", 7, "a", None, {}, [], "{{x}}", {"id": "b"}]}
    )
    assert sorted({link.package for link in doubled.links}) == ["7", "a", "b"]


def test_a_package_named_with_its_id_and_its_number_is_linked_by_its_id() -> None:
    described = {"manifest_id": "i", "status": "s", "packages": [{"id": 17, "package_id": "p"}, {"tracking_number": "t"}]}
    assert [link.package for link in read_one(MANIFEST, described).links] == ["p", "package:T"]
    assert "packages" not in details(read_one(MANIFEST, described))
    message = read_one(MANIFEST, {"manifest_id": "i", "status": "s", "packages": [{"id": "p", "tracking_number": "t"}]})
    assert [link.package for link in message.links] == ["p"]


# Hostile bodies


@each_row("body", [b"null", b"1", b'"text"', b"true"])
def test_a_root_that_is_neither_object_nor_array_is_told_what_was_expected(body: bytes) -> None:
    with pytest.raises(UnexpectedShape, match="array of objects"):
        split(PACKAGE, {}, body)


@each_row("body", [b"", b"{", b"\xff", b"[" * 100_000, b"NaN"])
def test_a_body_that_is_not_json_is_said_so(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        split(MANIFEST, {}, body)


def test_ten_thousand_items_are_read_and_one_more_is_refused() -> None:
    assert len(split(PACKAGE, {}, orjson.dumps([{"package_id": n} for n in range(MAX_ITEMS)]))) == MAX_ITEMS
    with pytest.raises(UnexpectedShape, match="10000"):
        split(PACKAGE, {}, orjson.dumps([{}] * (MAX_ITEMS + 1)))


def test_the_packages_of_manifests_count_as_items() -> None:
    def manifests(*numbers: int) -> bytes:
        packages = [[f"{place}-{n}" for n in range(number)] for place, number in enumerate(numbers)]
        return orjson.dumps([{"manifest_id": 1, "status": "ready", "packages": each} for each in packages])

    assert [len(message.links) for message in split(MANIFEST, {}, manifests(5_000, 4_998))] == [5_000, 4_998]
    for too_many in (manifests(5_000, 4_999), manifests(MAX_ITEMS), manifests(10, 400_000)):
        with pytest.raises(UnexpectedShape, match="packages of manifests"):
            split(MANIFEST, {}, too_many)
    packages = [{"package_id": n, "manifest_number": "M"} for n in range(MAX_ITEMS)]
    assert len(split(PACKAGE, {}, orjson.dumps(packages))) == MAX_ITEMS


def test_items_that_are_no_objects_harm_no_others() -> None:
    messages = read("not_an_object_item")
    assert [m.quarantine_reason for m in messages] == [None, *["not_an_object"] * 4, None]
    assert [m.tracker_id for m in messages if m.quarantine_reason is None] == ["pkg-good", "pkg-good-too"]


def test_an_item_nested_too_deeply_is_set_apart_or_refused() -> None:
    body = b'{"package_id": "p", "a": ' + b"[" * 300 + b"]" * 300 + b"}"
    assert [m.quarantine_reason for m in split(PACKAGE, {}, body)] == ["too_deep"]


def test_a_nul_reaches_no_text_that_a_database_keeps() -> None:
    nul = "a\0b"
    package = read_one(PACKAGE, dict.fromkeys((field.replace("entry_time", "entry_date_time") for field in PACKAGE_FIELDS), nul))
    manifest = read_one(MANIFEST, {"packages": [nul], **dict.fromkeys(("manifest_id", "status", "timestamp", "notes"), nul)})
    unmapped = read_one(PACKAGE, {nul: nul})
    for message in (package, manifest, unmapped):
        kept: list[object] = [*message, *(message.snapshot or ())]
        for record in (*message.links, *message.events):
            kept += record
        assert not [value for value in kept if isinstance(value, str) and "\0" in value]
