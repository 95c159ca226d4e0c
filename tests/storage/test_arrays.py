"""Text of PostgreSQL arrays: the server reads the values that were written."""

from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.storage.arrays import write_array
from tests.harness.table import each_row

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
ODD = [
    '"',
    "\\",
    '\\"',
    "\\\\",
    "\\n",
    "\n",
    '\\\n"',
    "\u2028",
    "{}",
    ",",
    "null",
    "NULL",
    "",
    " ",
    "Zürich 東京 \U0001f4e6",
    "\x01",
    "\x7f",
]


@pytest.fixture(scope="module")
def server(cluster: Any) -> Any:
    with psycopg.connect(f"postgresql://postgres@127.0.0.1:{cluster.port}/postgres", autocommit=True) as connection:
        yield connection


def read_back(server: Any, values: tuple[Any, ...], kind: str) -> list[Any]:
    return [row[0] for row in server.execute(f"SELECT unnest(%s::{kind}[])", (write_array(values),)).fetchall()]


@given(st.lists(st.none() | TEXTS | st.sampled_from(ODD), max_size=8).map(tuple))
def test_texts_arrive_as_they_are(server: Any, values: tuple[str | None, ...]) -> None:
    assert read_back(server, values, "text") == list(values)


@each_row("value", ODD, ids=ascii)
def test_an_odd_text_arrives_as_it_is(server: Any, value: str) -> None:
    assert read_back(server, (value, None, value + value), "text") == [value, None, value + value]


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=8).map(tuple))
def test_whole_numbers_arrive_as_they_are(server: Any, values: tuple[int | None, ...]) -> None:
    assert read_back(server, values, "bigint") == list(values)


@given(st.lists(st.none() | st.binary(), min_size=1, max_size=8).map(tuple))
def test_bytes_arrive_as_they_are(server: Any, values: tuple[bytes | None, ...]) -> None:
    assert read_back(server, values, "bytea") == list(values)


def test_only_what_json_escapes_otherwise_is_left_to_the_driver() -> None:
    assert write_array(('{"a": "b\\"}', "c")) == '{"{\\"a\\": \\"b\\\\\\"}","c"}'
    assert write_array(("two\nlines",)) == ["two\nlines"]
