"""Reading of bytes into values that both databases can store."""

import json
import string

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.reading import (
    digest,
    read_id,
    read_integer,
    read_json,
    read_object,
    read_short_text,
    read_text,
    trim_all,
    write_canonical,
)
from receiver.errors import InvalidJson
from tests.harness.table import each_row

FINITE = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | FINITE | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@each_row(
    ("body", "value"),
    [
        pytest.param(b'{"a":1}', {"a": 1}, id="an object"),
        pytest.param(b" [1, 2.5, null]\n", [1, 2.5, None], id="white space"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', {"a": 1}, id="byte order mark"),
        pytest.param(b'"\\ud83d\\ude00"', "😀", id="a surrogate pair"),
        pytest.param(b'"\\ud83d"', "\ufffd", id="its first half alone"),
        pytest.param(b'"\\ude00"', "\ufffd", id="its second half alone"),
        pytest.param(b'"\\ude00\\ud83d"', "\ufffd\ufffd", id="its halves the wrong way round"),
        pytest.param(b'"a\\ud83db"', "a\ufffdb", id="half a pair between letters"),
        pytest.param(b'["\\ud83d","\\ude00"]', ["\ufffd", "\ufffd"], id="halves in two texts"),
        pytest.param(b'{"\\ud83d":"\\u0000"}', {"\ufffd": "\0"}, id="half a pair in a key"),
        pytest.param(b'["\\ud83d","\\ud83d\\ude00"]', ["\ufffd", "😀"], id="half a pair beside a whole one"),
        pytest.param(b'["\\ud83d",9223372036854775807]', ["\ufffd", 2**63 - 1], id="leniently read, largest integer"),
        pytest.param(b'["\\ud83d",-9223372036854775808]', ["\ufffd", -(2**63)], id="leniently read, smallest integer"),
        pytest.param(
            b'["\\ud83d",-9007199254740993]', ["\ufffd", -(2**53) - 1], id="leniently read, an integer that no float is"
        ),
        pytest.param(b'["\\ud83d",9223372036854775808]', ["\ufffd", str(2**63)], id="leniently read, an integer too large"),
        pytest.param(b'["\\ud83d",' + b"9" * 5000 + b"]", ["\ufffd", "9" * 5000], id="leniently read, 5000 digits"),
        pytest.param(b'{"a":1,"a":2}', {"a": 2}, id="a key twice: the last counts"),
    ],
)
def test_json_is_read_as_senders_produce_it(body: bytes, value: object) -> None:
    assert read_json(body) == value


@each_row(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xef\xbb\xbf", id="byte order mark alone"),
        pytest.param(b"{'a': 1}", id="single quotes"),
        pytest.param(b'{"a":1,}', id="trailing comma"),
        pytest.param(b'{"a":1} {"b":2}', id="two values"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"[-Infinity]", id="infinity"),
        pytest.param(b'"\xed\xa0\xbd"', id="a surrogate in UTF-8"),
        pytest.param(b'"\xc3\x28"', id="broken UTF-8"),
        pytest.param('{"a":1}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'"a\nb"', id="line break in a text"),
        pytest.param(b"[" * 100_000, id="100,000 open brackets"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="100,000 lists in each other"),
        pytest.param(b"trackings=1", id="a form"),
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson, match=r"^(The body must be JSON: .+|The body is empty|The body is not valid UTF-8)\.$"):
        read_json(body)


@each_row(("body", "words"), [(b" \n", "The body is empty."), (b'"\xc3\x28"', "The body is not valid UTF-8.")])
def test_the_refusal_says_what_the_sender_can_mend(body: bytes, words: str) -> None:
    with pytest.raises(InvalidJson) as refusal:
        read_json(body)
    assert refusal.value.message == words


def test_the_refusal_does_not_quote_the_body() -> None:
    with pytest.raises(InvalidJson) as refusal:
        read_json(b'{"token": hunter2}')
    assert "hunter2" not in refusal.value.message


@given(VALUES)
def test_any_json_value_survives(value: object) -> None:
    assert read_json(orjson.dumps(value)) == value


@given(st.lists(st.text(alphabet=st.characters(codec=None, categories=None))))
def test_any_escaped_text_can_be_written_as_utf_8(texts: list[str]) -> None:
    value = read_json(json.dumps(texts).encode())
    assert [len(one.encode("utf-16-le")) for one in value] == [len(one.encode("utf-16-le", "surrogatepass")) for one in texts]


def test_canonical_json_has_sorted_keys_and_no_white_space() -> None:
    assert write_canonical({"b": [1, {"d": 2, "c": 3}], "a": "é"}) == '{"a":"é","b":[1,{"c":3,"d":2}]}'.encode()


def test_what_is_nested_too_deeply_has_no_canonical_form() -> None:
    assert write_canonical(orjson.loads(b"[" * 1000 + b"]" * 1000)) is None


def test_a_digest_is_32_hexadecimal_digits_of_the_content() -> None:
    assert len(digest(b"")) == 32
    assert set(digest(b"")) <= set(string.hexdigits.lower())
    assert digest(b"a") == digest(b"a") != digest(b"b")


@each_row(
    ("value", "kept"),
    [
        ("Delivered", "Delivered"),
        ("", ""),
        ("a\0b", "a\N{SYMBOL FOR NULL}b"),
        (7, "7"),
        (2.5, "2.5"),
        (True, None),
        (None, None),
        ([], None),
        ({}, None),
    ],
    ids=repr,
)
def test_a_text_is_what_a_database_can_keep(value: object, kept: str | None) -> None:
    assert (read_text(value), read_short_text(value)) == (kept, kept)


def test_a_value_too_deep_for_the_lenient_reader_is_read_without_it() -> None:
    for depth in (900, 1000, 1022):
        body = b'{"number":1234567890123456789,"deep":' + b"[" * depth + b"]" * depth + b"}"
        assert read_json(body, exact=True)["number"] == 1234567890123456789, depth


def test_a_short_text_is_trimmed_and_a_long_one_is_not() -> None:
    assert (read_text(" AB 12\t"), read_short_text(" AB 12\t")) == (" AB 12\t", "AB 12")


def test_every_text_in_a_value_is_trimmed_but_no_key() -> None:
    assert trim_all({" a ": [" b ", {"c": "\td"}], "e": 7, "f": None}) == {" a ": ["b", {"c": "d"}], "e": 7, "f": None}


@each_row(("length", "as_text", "as_label"), [(200, 200, 200), (201, 201, 200), (2000, 2000, 200), (2001, 2000, 200)])
def test_texts_and_labels_are_cut(length: int, as_text: int, as_label: int) -> None:
    assert (read_text("é" * length), read_short_text("é" * length)) == ("é" * as_text, "é" * as_label)


@each_row(
    ("value", "kept"),
    [
        pytest.param("26148317-7502-d3ac", "26148317-7502-d3ac", id="opaque text"),
        pytest.param(" spaced out ", "spaced out", id="spaces around it do not belong to it"),
        pytest.param("x" * 200, "x" * 200, id="as long as may be"),
        pytest.param(4711, "4711", id="a number"),
        pytest.param(0, "0", id="zero"),
        pytest.param("", None, id="empty"),
        pytest.param(" \t", None, id="blank"),
        pytest.param(None, None, id="null"),
        pytest.param(True, None, id="true"),
        pytest.param(1.0, None, id="a fraction"),
        pytest.param(["x"], None, id="a list"),
    ],
)
def test_an_identity_is_kept_trimmed_and_otherwise_as_it_is(value: object, kept: str | None) -> None:
    assert read_id(value) == kept


def test_an_identity_that_no_index_takes_is_replaced_by_its_hash() -> None:
    odd = ["x" * 201, "x" * 202, "a\0b", "\0", "x" + " " * 300 + "y"]
    made = [read_id(value) for value in odd]
    assert len(set(made)) == len(odd)
    assert all(one is not None and one.startswith("blake2b:") and len(one) == 40 for one in made)
    assert made == [read_id(f" {value}\t") for value in odd]
    assert read_id("x" * 200 + " " * 300) == "x" * 200


@each_row(
    ("value", "kept"),
    [
        (0, 0),
        (-5, -5),
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        (-(2**63) - 1, None),
        (True, None),
        (1.0, None),
        ("1", None),
        (None, None),
    ],
    ids=repr,
)
def test_an_integer_fits_64_bits(value: object, kept: int | None) -> None:
    assert read_integer(value) == kept


@each_row(("value", "kept"), [({"a": 1}, {"a": 1}), (None, {}), ([], {}), ("x", {}), (7, {})], ids=repr)
def test_anything_but_an_object_is_an_empty_one(value: object, kept: dict[str, int]) -> None:
    assert read_object(value) == kept


@each_row("digits", ["1e999", "-1e999", "9" * 400], ids=["infinite", "minus infinite", "400 digits"])
def test_a_number_that_no_database_holds_stays_as_it_was_written(digits: str) -> None:
    assert read_json(f"[{digits}]".encode()) == [digits]


def test_where_it_matters_a_long_whole_number_keeps_its_digits() -> None:
    body = b'{"tracking_number": 9400100000000000000012, "small": 7}'
    assert read_json(body, exact=True) == {"tracking_number": "9400100000000000000012", "small": 7}


@each_row("character", ["\n", "\r\n", "\t", "\0", "\x1b", "\x7f"])
def test_control_characters_in_strings_are_read_where_a_template_made_the_body(character: str) -> None:
    body = ('\ufeff{"key": "a' + character + 'b"}\r\n\t ').encode()
    assert read_json(body, exact=True) == {"key": f"a{character}b"}


@each_row(
    "body",
    [
        pytest.param(b'{"a"\x00: 1}', id="outside of strings"),
        pytest.param(b'{"a": "b', id="an open string"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"a": "\xe9"}', id="Latin-1"),
        pytest.param(b"{'a': 1}", id="single quotes"),
        pytest.param(b'{"a": 1,}', id="a comma too many"),
    ],
)
def test_what_leaves_a_doubt_is_not_read_in_a_designed_body_either(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        read_json(body, exact=True)


def test_control_characters_in_strings_stay_an_error_in_a_body_of_a_program() -> None:
    with pytest.raises(InvalidJson):
        read_json(b'{"key": "a\nb"}')
