"""Texts to copy: exact or not at all, and a command that a shell reads as the request was."""

import shlex

from receiver.web.console.copying import read_body_text, write_curl
from tests.harness.table import each_row

DELIVERY = {"id": "some-id", "method": "POST", "path": "/webhooks/ship24"}
URL = "https://parcels.example"


@each_row(
    ("body", "text"),
    [
        (b"", ""),
        (b'{"a": "it\'s"}', '{"a": "it\'s"}'),
        ('{\n\t"ü": 1}'.encode(), '{\n\t"ü": 1}'),
        (b"\xff\xfe", None),
        (b"a\x00b", None),
        ("a\u202eb".encode(), None),
        (b"x" * 20_001, None),
    ],
)
def test_a_body_is_copied_exactly_or_not_at_all(body: bytes, text: str | None) -> None:
    assert read_body_text(body) == text


@each_row(
    ("body", "data"),
    [
        (b"", None),
        (None, None),
        (b'{"a": "it\'s $HOME `id`"}', '{"a": "it\'s $HOME `id`"}'),
        (b"\xff", "@request-some-id.bin"),
    ],
)
def test_the_command_sends_the_same_body(body: bytes | None, data: str | None) -> None:
    words = shlex.split(write_curl(DELIVERY, [("Content-Type", "application/json")], body, URL))
    assert words[:4] == ["curl", "-X", "POST", f"{URL}/webhooks/ship24"]
    assert words[4:8] == ["-H", "Authorization: Bearer $TOKEN", "-H", "Content-Type: application/json"]
    assert words[8:] == ([] if data is None else ["--data-binary", data])
