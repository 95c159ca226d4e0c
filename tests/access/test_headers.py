"""The headers of a request: what decides, and what of them may be stored."""

from receiver.access.headers import HeaderReader
from receiver.access.probe import HEADER

SECRET = "the-token-of-these-tests"
Pair = tuple[bytes, bytes]
CREDENTIALS = [b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"x-auth-token", HEADER.encode()]


def kept(*pairs: Pair) -> tuple[tuple[str, str], ...]:
    return HeaderReader([SECRET, ""]).read(pairs).storable


def test_each_header_has_its_use() -> None:
    pairs = [
        (b"authorization", b"Bearer one"),
        (b"x-forwarded-for", b"192.0.2.1"),
        (b"content-length", b"17"),
        (b"content-encoding", b"gzip"),
        (HEADER.encode(), b"first"),
        (b"host", b"receiver.example"),
        (b"authorization", b"Bearer two"),
        (b"x-forwarded-for", b"192.0.2.2"),
        (b"content-encoding", b"deflate"),
        (HEADER.encode(), b"last"),
        (b"cookie", b"theme=dark"),
    ]
    found = HeaderReader([]).read(pairs)
    assert found.authorization == (b"Bearer one", b"Bearer two")
    assert found.forwarded == ("192.0.2.1", "192.0.2.2")
    assert (found.content_length, found.codings, found.test) == (b"17", ("gzip", "deflate"), b"last")


def test_what_is_not_sent_is_absent() -> None:
    assert HeaderReader([]).read([(b"accept", b"*/*")]) == ((), (), None, (), (("accept", "*/*"),), None)


def test_headers_are_stored_in_their_order_but_no_credentials() -> None:
    pairs = [
        (b"host", b"here"),
        *((name, b"a-guess") for name in CREDENTIALS),
        (b"x-forwarded-for", b"\xe9"),
        (b"host", b"there"),
    ]
    assert kept(*pairs) == (("host", "here"), ("x-forwarded-for", "é"), ("host", "there"))


def test_a_known_secret_is_stored_nowhere_whichever_header_has_it() -> None:
    reader = HeaderReader([SECRET, "another-token", ""])
    value = f"{SECRET}, another-token, {SECRET}".encode()
    found = reader.read([(name, value) for name in (b"user-agent", b"referer", b"content-encoding")])
    assert {shown for _, shown in found.storable} == {"[secret], [secret], [secret]"}
    assert SECRET not in repr(found)
    assert reader.redact(f"/webhooks/{SECRET}?q=ä") == "/webhooks/[secret]?q=ä"


def test_stored_headers_are_bounded_by_four_kilobytes_of_names_and_values() -> None:
    long, last = (b"x-long", b"x" * (4096 - 10)), (b"host", b"")
    assert [name for name, _ in kept(long, last, (b"a", b""))] == ["x-long", "host"]
    assert [name for name, _ in kept((b"x-long", b"x" * 4091))] == []


def test_a_reader_shows_the_same_for_a_header_that_it_has_read_before() -> None:
    reader = HeaderReader([SECRET])
    pairs = [
        (b"user-agent", f"agent {SECRET}".encode()),
        (b"referer", b"agent"),
        (b"content-length", b"1"),
        (b"x-long", b"l" * 500),
    ]
    first = reader.read(pairs).storable
    assert first == (("user-agent", "agent [secret]"), ("referer", "agent"), ("content-length", "1"), ("x-long", "l" * 500))
    assert reader.read(reversed(pairs)).storable == first[::-1]
