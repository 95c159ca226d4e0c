"""Field paths: where fields are found in bodies of free design."""

from pathlib import Path
from typing import Any

import pytest

from receiver.errors import ConfigurationError
from receiver.settings import load
from receiver.sources.field_paths import check_field_path, find_value, flatten, is_missing, look_up, normalize
from receiver.sources.shiipp import FIELDS, MANIFEST_FIELDS, PACKAGE_FIELDS, map_item
from tests.harness.table import each_row

BODY: dict[str, Any] = {
    "id": "top",
    "data": {"id": "inside", "parcels": [{"tn": "first"}, {"tn": "second"}], "none": None},
    "a.b": "dotted key",
    "a/b": "slashed key",
    "m~n": "tilde key",
    "~1": "an escape as a key",
    "0": "a digit as a key",
}


@each_row(
    ("path", "value"),
    [
        ("id", "top"),
        ("data.id", "inside"),
        ("data.parcels.1.tn", "second"),
        ("/id", "top"),
        ("/data/id", "inside"),
        ("/data/parcels/0/tn", "first"),
        ("/a.b", "dotted key"),
        ("/a~1b", "slashed key"),
        ("/m~0n", "tilde key"),
        ("/~01", "an escape as a key"),
        ("/0", "a digit as a key"),
        ("0", "a digit as a key"),
        ("/data/parcels", BODY["data"]["parcels"]),
    ],
)
def test_a_field_path_is_a_dotted_path_or_a_json_pointer(path: str, value: object) -> None:
    check_field_path(path)
    assert look_up(BODY, path) == value


@each_row(
    "path",
    [
        *("nothing", "data.nothing", "id.deeper", "/id/0", "/data/none/deeper", "Data.ID", "a.b", "data.parcels.tn"),
        *(
            "data.parcels.2.tn",
            "data.parcels.-1.tn",
            "data.parcels.²",
            "data.parcels.\N{ARABIC-INDIC DIGIT ZERO}.tn",
            f"data.parcels.{'9' * 5000}",
        ),
    ],
)
def test_a_field_path_without_a_value_gives_nothing(path: str) -> None:
    assert look_up(BODY, path) is None


@each_row("item", [None, 1, "text", True, []])
def test_nothing_stands_in_what_is_neither_object_nor_array(item: object) -> None:
    assert look_up(item, "a.0") is None


@each_row("path", ["", " ", "/", "a..b", ".a", "a.", "//a", "/a//b", "/a/"])
def test_a_field_path_with_an_empty_step_is_refused_with_examples(path: str) -> None:
    with pytest.raises(ValueError, match=r"data\.tracking_number"):
        check_field_path(path)


@each_row(
    "name", ["TrackingNumber", "tracking_number", "tracking-number", "trackingNumber", "Tracking Number", "TRACKING.NUMBER"]
)
def test_all_spellings_of_a_name_fold_to_one(name: str) -> None:
    assert normalize(name) == "trackingnumber"


@each_row("value", [None, "", " ", "\t\n", "{{tracking_number}}", " {{ x }} ", "{{a}}{{b}}", "{{\n}}", "{{}}"])
def test_null_blanks_and_literal_variables_are_missing(value: object) -> None:
    assert is_missing(value)


@each_row("value", [0, False, "0", "{x}", "about {{x}}", "{{x}} lbs", "{{x", [], {}])
def test_anything_else_is_there(value: object) -> None:
    assert not is_missing(value)


def test_the_shallowest_of_equal_names_is_found_first_whatever_stands_first() -> None:
    body = {"deep": {"deeper": {"status": 3}, "Status": 2}, "STATUS": 1}
    assert find_value(flatten(body), ("status",)) == 1
    del body["STATUS"]
    assert find_value(flatten(body), ("status",)) == 2


def test_names_are_tried_in_their_order_before_depths() -> None:
    body = {"tracking": "second name", "data": {"TrackingNumber": "first name"}}
    assert find_value(flatten(body), ("trackingnumber", "tracking")) == "first name"


def test_a_path_of_names_is_found_at_any_depth_but_not_in_the_middle_of_a_name() -> None:
    assert find_value(flatten({"data": {"Package": {"ID": "x"}}}), ("package.id",)) == "x"
    assert find_value(flatten({"subpackage": {"id": "x"}}), ("package.id",)) is None
    assert find_value(flatten({"notracking": "x"}), ("tracking",)) is None


def test_what_is_missing_or_an_object_gives_way_to_the_next_name() -> None:
    body = {"status": "{{status}}", "data": {"status": {"code": 1}, "more": {"status": "ready"}}}
    assert find_value(flatten(body), ("status",)) == "ready"


def test_objects_are_looked_into_four_deep_and_no_deeper() -> None:
    body: dict[str, Any] = {"fourth": 4, "a": {"a": {"a": {"fourth": "seen", "a": {"fifth": "not seen"}}}}}
    flattened = flatten(body)
    assert flattened["a.a.a.fourth"] == "seen"
    assert find_value(flattened, ("fifth",)) is None


def test_keys_are_looked_at_up_to_a_number() -> None:
    wide = {f"key{number}": number for number in range(100_000)}
    assert len(flatten(wide)) == 500
    nested: dict[str, Any] = {f"k{one}": {f"k{two}": {} for two in range(300)} for one in range(300)}
    assert len(flatten(nested)) == 500


def test_a_name_that_folds_to_nothing_does_no_harm() -> None:
    assert find_value(flatten({"": {"": "x"}, "---": 1, "status": "ready"}), ("status",)) == "ready"


# Our fields

PACKAGE, MANIFEST = "new-package", "manifest-status"


def spellings(field: str) -> list[str]:
    words = field.split("_")
    camel = words[0] + "".join(map(str.title, words[1:]))
    return [field, camel, "".join(map(str.title, words)), "-".join(words), field.upper()]


SPELLED = [
    (kind, field, name)
    for kind, fields in ((PACKAGE, PACKAGE_FIELDS), (MANIFEST, MANIFEST_FIELDS))
    for field in fields
    for name in spellings({"time": "updated_at", "entry_time": "entry_date_time"}.get(field, field))
]


@each_row(("kind", "field", "name"), SPELLED)
def test_every_field_is_found_in_every_spelling_at_the_root_and_deeper(kind: str, field: str, name: str) -> None:
    for item in ({name: "value"}, {"data": {"inner": {name: "value"}}}):
        assert map_item(kind, {}, item).values[field] == "value"


def test_a_field_path_of_the_settings_replaces_the_default_of_its_field_only() -> None:
    field_paths = {"package_id": ("parcels.0.ref", "/a~1b"), "weight": ("w",)}
    item = {"parcels": [{"ref": "mine"}], "package_id": "theirs", "weight": 7, "user_code": "c"}
    mapped = map_item(PACKAGE, field_paths, item)
    assert mapped.values == {"package_id": "mine", "user_code": "c"}
    assert map_item(PACKAGE, field_paths, {"parcels": [{"ref": "{{x}}"}], "a/b": "second"}).values == {"package_id": "second"}


# Settings


def load_field_paths(folder: Path, text: str) -> Any:
    file = folder / "receiver.toml"
    file.write_text(text, encoding="utf-8")
    return load({"RECEIVER_CONFIG": str(file)}, folder / "none")


def test_the_file_maps_fields_for_each_kind(tmp_path: Path) -> None:
    text = '[shiipp_new_package]\npackage_id = ["data.ref", "/a/0"]\n[shiipp_manifest_status]\nstatus = ["state"]\n'
    settings = load_field_paths(tmp_path, text)
    assert settings.shiipp_new_package == {"package_id": ("data.ref", "/a/0")}
    _, package, manifest = settings.sources()
    assert [m.tracker_id for m in package.split(b'[{"data": {"ref": "p"}}, {"a": ["q"]}]')] == ["p", "q"]
    assert [m.events[0].status for m in manifest.split(b'{"state": "ready", "manifest_id": "i"}')] == ["ready"]


WRONG = {
    "another field": ('[shiipp_new_package]\npackge_id = ["a"]', ("RECEIVER_SHIIPP_NEW_PACKAGE", "packge_id", "package_id")),
    "a field of the other kind": ('[shiipp_manifest_status]\ntracking_number = ["a"]', ("tracking_number", "nearest")),
    "a text": ('[shiipp_new_package]\npackage_id = "a"', ("package_id", "list of field paths")),
    "no path": ("[shiipp_new_package]\npackage_id = []", ("package_id", "list of field paths")),
    "a number": ("[shiipp_new_package]\npackage_id = [1]", ("package_id", "list of field paths")),
    "a wrong path": ('[shiipp_manifest_status]\nstatus = ["a..b"]', ("a..b", "JSON Pointer", "RECEIVER_SHIIPP_MANIFEST_STATUS")),
    "an empty path": ('[shiipp_manifest_status]\nstatus = [""]', ("JSON Pointer",)),
    "no table": ('shiipp_new_package = "package_id"', ("table",)),
    "another table": ('[shiipp_new_packages]\npackage_id = ["a"]', ("shiipp_new_packages", "shiipp_new_package")),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_mapping_that_is_wrong_refuses_to_start_and_says_where(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_field_paths(tmp_path, text)
    for word in words:
        assert word in refusal.value.message


@each_row("kind", FIELDS)
def test_our_own_names_are_folded_as_keys_are(kind: str) -> None:
    for names in FIELDS[kind].values():
        assert names
        for name in names:
            assert name == name.casefold()
            assert name.replace(".", "").isalnum()
