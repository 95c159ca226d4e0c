"""Bodies with a content coding: inflated within the limit, refused by name, never believed."""

import gzip
import zlib
from collections.abc import Callable

import pytest

from receiver.errors import BodyTooLarge, InvalidJson, ReceiverError, UnsupportedEncoding
from receiver.sources.codings import inflate, list_codings
from tests.harness.table import each_row

LIMIT = 1000
BODY = b'{"trackings": []}'


def bare(body: bytes) -> bytes:
    """Return raw deflate, without the header and the checksum of zlib, as some senders do."""
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(body) + deflater.flush()


@each_row(
    ("lines", "codings"),
    [
        pytest.param([], (), id="none"),
        pytest.param([b""], (), id="empty"),
        pytest.param([b"identity"], (), id="identity"),
        pytest.param([b" GZIP "], ("gzip",), id="case and blanks"),
        pytest.param([b"deflate, identity,gzip"], ("deflate", "gzip"), id="several"),
        pytest.param([b"deflate", b"br"], ("deflate", "br"), id="several lines"),
        pytest.param([b"\xff"], ("\xff",), id="not ASCII"),
    ],
)
def test_codings_are_read_in_the_order_in_which_they_were_applied(lines: list[bytes], codings: tuple[str, ...]) -> None:
    assert list_codings(lines) == codings


@each_row(
    ("coded", "codings"),
    [
        pytest.param(BODY, (), id="none"),
        pytest.param(gzip.compress(BODY), ("gzip",), id="gzip"),
        pytest.param(gzip.compress(BODY), ("x-gzip",), id="x-gzip"),
        pytest.param(zlib.compress(BODY), ("deflate",), id="deflate"),
        pytest.param(bare(BODY), ("deflate",), id="bare deflate"),
        pytest.param(gzip.compress(BODY[:5]) + gzip.compress(BODY[5:]), ("gzip",), id="gzip in two members"),
        pytest.param(gzip.compress(zlib.compress(BODY)), ("deflate", "gzip"), id="twice"),
        pytest.param(gzip.compress(gzip.compress(gzip.compress(BODY))), ("gzip",) * 3, id="three times"),
        pytest.param(gzip.compress(b"x" * LIMIT), ("gzip",), id="as large as may be"),
    ],
)
def test_a_body_is_inflated(coded: bytes, codings: tuple[str, ...]) -> None:
    assert inflate(coded, codings, LIMIT) in {BODY, b"x" * LIMIT}


def test_bare_deflate_is_not_mistaken_for_zlib_by_the_check_bits_of_a_head() -> None:
    bodies = {bare(body): body for body in (b"%d" % number for number in range(1000))}
    alike = [coded for coded in bodies if int.from_bytes(coded[:2]) % 31 == 0]
    assert alike
    assert all(inflate(coded, ("deflate",), LIMIT) == bodies[coded] for coded in alike)


_LARGE = b"x" * (LIMIT + 1)


@each_row(
    ("coded", "codings"),
    [
        pytest.param(gzip.compress(_LARGE), ("gzip",), id="one byte over the limit"),
        pytest.param(bare(_LARGE), ("deflate",), id="bare deflate"),
        pytest.param(gzip.compress(b"x" * LIMIT) + gzip.compress(b"x"), ("gzip",), id="in two members"),
        pytest.param(gzip.compress(b"x" * 50_000_000), ("gzip",), id="a bomb"),
        pytest.param(gzip.compress(gzip.compress(b"x" * 50_000_000)), ("gzip", "gzip"), id="a bomb in a bomb"),
    ],
)
def test_a_body_that_is_too_large_when_inflated_is_refused(coded: bytes, codings: tuple[str, ...]) -> None:
    with pytest.raises(BodyTooLarge, match="at most 1000 bytes"):
        inflate(coded, codings, LIMIT)


@each_row(
    "break_it",
    [
        pytest.param(lambda coded: coded[:-1], id="truncated"),
        pytest.param(lambda coded: coded[:10], id="only a head"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda coded: coded + b"x", id="garbage behind it"),
        pytest.param(lambda coded: coded + b"\0" * 10, id="zeros behind it"),
        pytest.param(lambda coded: coded[:-1] + bytes([coded[-1] ^ 1]), id="another checksum"),
        pytest.param(lambda _: BODY, id="not coded at all"),
    ],
)
@each_row(("name", "code"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_body_that_is_not_what_its_coding_says_is_unreadable(
    name: str, code: Callable[[bytes], bytes], break_it: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(InvalidJson, match=name):
        inflate(break_it(code(BODY)), (name,), LIMIT)


def test_the_members_of_a_body_are_bounded_in_number() -> None:
    with pytest.raises(InvalidJson):
        inflate(gzip.compress(b"") * 1000, ("gzip",), LIMIT)


@each_row("codings", [("br",), ("gzip", "zstd"), ("compress",), ("gzip",) * 4, ("gzip",) * 9, ("x" * 5000,)], ids=len)
def test_another_coding_is_named_with_those_that_are_read(codings: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedEncoding) as refusal:
        inflate(BODY, codings, LIMIT)
    error: ReceiverError = refusal.value
    assert (error.status, error.code) == (415, "unsupported_encoding")
    assert codings[-1][:40] in error.message
    assert "gzip, deflate" in error.message
    assert len(error.message) < 200
