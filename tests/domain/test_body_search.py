"""Names in the bytes of bodies that nobody could read."""

import gzip
import json
import zlib
from random import Random
from urllib.parse import quote

from receiver.domain.body_search import find_names
from tests.harness.table import each_row

NAME = 'Ünï"1/2345'
TEXT = json.dumps({"name": NAME}, ensure_ascii=False)
NOISE = Random(1).randbytes(300)


@each_row(
    "content",
    [
        TEXT.encode(),
        TEXT.upper().encode(),
        TEXT.encode("cp1252"),
        json.dumps({"name": NAME}).encode(),
        TEXT.replace("/", "\\/").encode(),
        "".join(f"\\u{ord(character):04X}" for character in NAME).encode(),
        f"payload={quote(TEXT)}".encode(),
        *(TEXT.encode(coding) for coding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")),
        gzip.compress(TEXT.encode()),
        gzip.compress(b"{}") + gzip.compress(TEXT.encode()),
        gzip.compress(TEXT.encode() + NOISE)[:-100],
        gzip.compress(TEXT.encode("utf-16")),
        zlib.compress(TEXT.encode()),
        zlib.compress(TEXT.encode() + NOISE)[:-100],
        TEXT.encode() + b"\0",
    ],
)
def test_a_name_is_found_however_the_body_was_written(content: bytes) -> None:
    assert find_names(content, [NAME]) is True
    assert find_names(content, ["another one"]) in {False, None}


@each_row(
    ("content", "found"),
    [
        (b"", False),
        (b"x^ is no zlib", False),
        (TEXT.encode()[:-8], False),
        (TEXT.encode("utf-16")[:-3], False),
        (gzip.compress(TEXT.encode())[:-8], False),
        (NOISE, None),
        (gzip.compress(TEXT.encode())[:20] + NOISE, None),
        (gzip.compress(NOISE), None),
    ],
)
def test_what_cannot_be_searched_is_said(content: bytes, found: bool | None) -> None:
    assert find_names(content, ["another one"]) is found
