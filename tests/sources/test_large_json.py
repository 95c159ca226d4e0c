"""Large JSON, parsed in pieces, is what orjson makes of it."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.sources.large_json import load_large

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)
ODD = (
    b"",
    b" ",
    b"[",
    b"[1,]",
    b"[1 2]",
    b'{"a"}',
    b'{"a":1,}',
    b"{1:2}",
    b"[NaN]",
    b"[01]",
    b'["\\ud800"]',
    b"[1]x",
    b"[\xff]",
    b"\xef\xbb\xbf[]",
)


def outcome(parse: Any, content: bytes) -> object:
    try:
        return parse(content)
    except orjson.JSONDecodeError:
        return "not JSON"


@given(VALUES, st.integers(0, 4), st.booleans())
def test_pieces_are_parsed_as_the_whole(value: object, depth: int, is_wide: bool) -> None:
    content = orjson.dumps(value, option=orjson.OPT_INDENT_2 if is_wide else None)
    assert load_large(content, depth, small_bytes=0) == orjson.loads(content)


@given(VALUES, st.integers(0, 4), st.data())
def test_what_is_broken_is_no_json_in_pieces_either(value: object, depth: int, data: st.DataObject) -> None:
    content = bytearray(orjson.dumps(value))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place : place + 1] = data.draw(st.binary(max_size=2))
    broken = bytes(content)
    assert repr(outcome(lambda given: load_large(given, depth, small_bytes=0), broken)) == repr(outcome(orjson.loads, broken))


@pytest.mark.parametrize("depth", range(3))
def test_odd_documents(depth: int) -> None:
    for content in (*ODD, b"[" * 100_000, b'{"a":1,"a":2}', b" [1e400, 123456789012345678901234567890] "):
        parsed = outcome(lambda given: load_large(given, depth, small_bytes=0), content)
        assert repr(parsed) == repr(outcome(orjson.loads, content)), content[:50]
