"""Files of one or several bodies are split without changing a byte of a body, however the file is read."""

from collections.abc import Iterator
from itertools import repeat

import orjson
from hypothesis import given
from hypothesis import strategies as st

from receiver.sources.body_files import split_bodies
from tests.harness.table import each_row

LIMIT = 60
LONG = b'{"a": "' + b"x" * LIMIT + b'"}'


def split(content: bytes, *, sends_arrays: bool = False, size: int = 7) -> list[bytes | None]:
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    found = list(split_bodies(chunks, LIMIT, sends_arrays=sends_arrays))
    assert [body.number for body in found] == list(range(1, len(found) + 1))
    assert all(body.read_bytes <= len(content) for body in found)
    return [body.content for body in found]


_FILES: dict[str, tuple[bytes, list[bytes | None]]] = {
    "nothing": (b"", []),
    "white space": (b" \r\n\t", []),
    "one body": (b'{"a": 1}', [b'{"a": 1}']),
    "one body on many lines": (b'{\n  "a": [\n{"b": 1}\n]\n}\n', [b'{\n  "a": [\n{"b": 1}\n]\n}\n']),
    "lines": (b'{"a": 1}\r\n\r\n  {"a": 2}\n{"a": 3}', [b'{"a": 1}', b'{"a": 2}', b'{"a": 3}']),
    "lines with a byte order mark": (b'\xef\xbb\xbf{"a": 1}\n{"a": 2}', [b'{"a": 1}', b'{"a": 2}']),
    "a line that is cut": (b'{"a": \n{"a": 2}\n', [b'{"a":', b'{"a": 2}']),
    "a first line that is no JSON": (b'log\n{"a": 2}\n', [b"log", b'{"a": 2}']),
    "lines of arrays": (b"[1]\n[2]\n", [b"[1]", b"[2]"]),
    "an array": (b'[{"a": 1}, {"a": [2]} ]\n', [b'{"a": 1}', b'{"a": [2]}']),
    "an array on many lines": (b'[\n{"a": 1},\n{"a": 2}\n]', [b'{"a": 1}', b'{"a": 2}']),
    "an empty array": (b"[ ]", []),
    "brackets in strings": (b'[{"a": "]},\\""}, "\\\\", {}]', [b'{"a": "]},\\""}', b'"\\\\"', b"{}"]),
    "a missing element": (b"[1,,2]", [b"1", b"", b"2"]),
    "an array that is cut": (b'[{"a": 1}, {"a"', [b'{"a": 1}', b'{"a"']),
    "text after an array": (b"[1] 2", [b"1", b"2"]),
    "a long line": (LONG + b'\n{"a": 2}\n' + LONG, [None, b'{"a": 2}', None]),
    "a long first body of many lines": (b'{\n"a": "' + b"x" * LIMIT + b'"}', [None]),
    "a long element": (b'[{"a": 1}, ' + LONG + b", 3]", [b'{"a": 1}', None, b"3"]),
    "white space without end": (b"[1, " + b" " * 3 * LIMIT + b"2]", [b"1", b"2"]),
}


@each_row("content, expected", _FILES.values(), ids=_FILES)
def test_a_file_is_split_into_its_bodies(content: bytes, expected: list[bytes | None]) -> None:
    assert split(content) == expected
    assert split(content, size=1) == expected
    assert split(content, size=1000) == expected


def test_an_array_is_one_body_of_a_sender_that_sends_arrays() -> None:
    assert split(b'[{"a": 1}, {"a": 2}]', sends_arrays=True) == [b'[{"a": 1}, {"a": 2}]']


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet='a"\\[]{},é\n', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='k"]', max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(values=st.lists(_VALUES, max_size=5), size=st.integers(1, 9), pretty=st.booleans())
def test_the_elements_of_any_array_are_found(values: list[object], size: int, *, pretty: bool) -> None:
    content = orjson.dumps(values, option=orjson.OPT_INDENT_2 if pretty else None)
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    found = list(split_bodies(chunks, 1000, sends_arrays=False))
    assert [orjson.loads(body.content or b"") for body in found] == values


def endless() -> Iterator[bytes]:
    """Give chunks of a string that never ends."""
    yield b'[{"a": "'
    yield from repeat(b"x" * 1000)


def test_of_a_body_without_end_only_the_limit_is_kept() -> None:
    chunks = endless()
    bodies = split_bodies((next(chunks) for _ in range(5000)), LIMIT, sends_arrays=False)
    assert [body.content for body in bodies] == [None]
