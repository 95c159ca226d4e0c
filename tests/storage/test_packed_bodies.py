"""Contents of deliveries are packed and come back byte for byte; what is damaged or unknown is said clearly."""

from hashlib import sha256
from typing import Any

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.rows import BodyRow
from receiver.errors import BodyDamaged
from receiver.storage import packed_bodies
from receiver.storage.packed_bodies import DICTIONARIES, MAX_CONTENT_BYTES, BodyPacker, unpack
from tests.bench import dictionaries
from tests.harness import ship24
from tests.harness.table import each_row

HEADERS = '[["host","here"],["content-type","application/json"]]'
PACKER = BodyPacker()
SHIPPED = {
    "ship24-1": "e0794d552dabb38bf2a4e40c8b1fb71de124fbde5faba3041b84785c2ed62339",
    "shiipp-1": "163cf276c12669e014c3d6ad08ad53105783fc62800c9d9c9a9a2f2671d59233",
}
"""The SHA-256 of each dictionary that was ever shipped. Stored rows need it exactly as it was."""


def content(body: bytes, answer: bytes = b'{"received":1}', headers: str = HEADERS) -> BodyRow:
    return BodyRow("0197-of-these-tests", headers, body, answer)


def packed(body: bytes = ship24.single("a-message")) -> BodyRow:
    row = PACKER.pack("ship24", content(body))
    assert row.content_bytes is not None
    return row


@given(
    st.binary() | st.text().map(str.encode) | st.binary(max_size=40).map(lambda some: some * 50),
    st.binary(max_size=200),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    st.sampled_from(["ship24", "shiipp", "a source without a dictionary"]),
)
def test_any_content_comes_back_as_it_was_and_takes_no_more_room(body: bytes, answer: bytes, headers: str, source: str) -> None:
    row = content(body, answer, headers)
    stored = PACKER.pack(source, row)
    assert unpack(stored) == row
    assert len(stored.headers.encode()) + len(stored.body) + len(stored.answer) <= len(headers.encode()) + len(body) + len(answer)


@each_row(
    ("body", "share"),
    [
        (ship24.single("a-message"), 0.45),
        (ship24.body(*(ship24.item(f"m-{number}") for number in range(100))), 0.15),
        (b'{"trackings":[' + b" " * 8 * 2**20 + b"]}", 0.01),
    ],
)
def test_messages_become_much_smaller(body: bytes, share: float) -> None:
    stored = packed(body)
    assert unpack(stored) == content(body)
    assert len(stored.body) < share * len(body)


def test_what_does_not_shrink_is_stored_as_it_is() -> None:
    row = content(zstd.compress(ship24.single("a-message")), b"", "")
    assert PACKER.pack("shiipp", row) == row


def test_what_is_too_large_to_be_unpacked_is_stored_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_bodies, "MAX_CONTENT_BYTES", 10_000)
    row = content(bytes(10_000))
    assert PACKER.pack("ship24", row) is row


def test_rows_of_earlier_versions_are_read_as_they_are() -> None:
    row = content(packed().body)  # even if their body is a frame
    assert unpack(row) is row


def test_any_changed_byte_of_a_frame_is_damage_and_names_the_delivery() -> None:
    row = packed()
    for place in range(len(row.body)):
        changed = bytearray(row.body)
        changed[place] ^= 1
        with pytest.raises(BodyDamaged, match="0197-of-these-tests"):
            unpack(row._replace(body=bytes(changed)))


@each_row(
    "change",
    [
        {"body": b""},
        {"body": packed().body[:-1]},
        {"body": packed().body + b"!"},
        {"body": packed().body * 2},
        {"content_bytes": None},
        {"content_bytes": 0},
        {"content_bytes": -1},
        {"content_bytes": 7},
        {"content_bytes": (packed().content_bytes or 0) - 1},
        {"content_bytes": (packed().content_bytes or 0) + 1},
        {"content_bytes": MAX_CONTENT_BYTES + 1},
    ],
)
def test_a_frame_that_is_not_of_its_size_is_damage(change: dict[str, Any]) -> None:
    with pytest.raises(BodyDamaged, match="Restore a copy"):
        unpack(packed()._replace(**change))


@each_row("body", [b"", b"1234567", b"\xff" * 8, b"\x01\x00\x00\x00\x00\x00\x00\x00\xff"])
def test_a_whole_frame_with_another_content_is_damage(body: bytes) -> None:
    with pytest.raises(BodyDamaged, match="Restore a copy"):
        unpack(BodyRow("0197", "", zstd.compress(body), b"", len(body)))


def test_a_frame_that_would_fill_the_memory_is_not_unpacked() -> None:
    bomb = zstd.compress(bytes(2**24))
    for content_bytes in (100, 2**20):
        with pytest.raises(BodyDamaged, match="does not end after"):
            unpack(BodyRow("0197", "", bomb, b"", content_bytes))


def test_a_dictionary_that_this_program_does_not_have_is_named_with_those_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    row = packed()
    monkeypatch.setattr(packed_bodies, "DICTIONARIES", DICTIONARIES[1:])
    with pytest.raises(BodyDamaged, match=r"dictionary 32769\. This program has 32770\. Use the version"):
        unpack(row)


def test_a_dictionary_that_was_shipped_is_never_changed_and_never_removed() -> None:
    assert {each.file.stem: sha256(each.file.read_bytes()).hexdigest() for each in DICTIONARIES} == SHIPPED
    assert sorted(packed_bodies.DICTIONARIES[0].file.parent.iterdir()) == sorted(each.file for each in DICTIONARIES)
    assert len({each.id for each in DICTIONARIES}) == len(DICTIONARIES)
    for each in DICTIONARIES:
        assert zstd.ZstdDict(each.file.read_bytes()).dict_id == each.id


def test_the_samples_of_a_dictionary_are_the_same_each_time() -> None:
    first, again = (list(dictionaries.make_samples("shiipp", 1, 20)) for _ in range(2))
    assert first == again
    assert len(set(first)) == len(first)
