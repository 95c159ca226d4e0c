"""Content codings of a body (RFC 9110, 8.4): inflate gzip and deflate within bounds, refuse all others. Pure."""

import zlib
from collections.abc import Iterable, Sequence

from receiver.errors import BodyTooLarge, InvalidJson, UnsupportedEncoding

_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's `wbits`: the container that it expects
_KNOWN = {"gzip", "x-gzip", "deflate"}  # x-gzip is gzip (RFC 9110, 8.4.1.3)
_MAX_CODINGS = 3
_MAX_MEMBERS = 100  # each member (RFC 1952, 2.2) of a gzip body costs a new decompressor


def list_codings(values: Iterable[bytes]) -> tuple[str, ...]:
    """Return the codings of all Content-Encoding lines, in the order in which they were applied, without `identity`."""
    names = [name.strip().lower() for value in values for name in value.decode("latin-1").split(",")]
    return tuple(name for name in names if name not in {"", "identity"})


def inflate(body: bytes, codings: Sequence[str], max_bytes: int) -> bytes:
    """Undo the codings of a body, the last one first. Raises UnsupportedEncoding, BodyTooLarge or InvalidJson."""
    unknown = [name for name in codings if name not in _KNOWN]
    if unknown or len(codings) > _MAX_CODINGS:
        refused = unknown[0] if unknown else ", ".join(codings)
        raise UnsupportedEncoding(f"Content-Encoding {refused[:40]!r} is not supported. Send gzip, deflate or no encoding.")
    for name in reversed(codings):
        try:
            body = _inflate_deflate(body, max_bytes) if name == "deflate" else _inflate_gzip(body, max_bytes)
        except zlib.error:
            raise InvalidJson(f"The body is not valid {name}, as its Content-Encoding says.") from None
    return body


def _inflate_gzip(body: bytes, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    for _ in range(_MAX_MEMBERS):
        piece, body = _inflate_one(body, _GZIP, max_bytes - sum(map(len, pieces)), max_bytes)
        pieces.append(piece)
        if not body:
            return b"".join(pieces)
    raise zlib.error


def _inflate_deflate(body: bytes, max_bytes: int) -> bytes:
    """Inflate zlib's format, as the RFC says, or raw deflate, as some senders send it."""
    is_zlib = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0
    inflated, rest = _inflate_one(body, _ZLIB if is_zlib else _RAW, max_bytes, max_bytes)
    if rest:
        raise zlib.error
    return inflated


def _inflate_one(body: bytes, container: int, max_remaining: int, max_bytes: int) -> tuple[bytes, bytes]:
    """Return the content of one stream and the bytes after it. Raises BodyTooLarge, or zlib.error if it is incomplete.

    The content may have `max_remaining` bytes; the error names `max_bytes`.
    """
    inflater = zlib.decompressobj(container)
    inflated = inflater.decompress(body, max_remaining + 1)
    if len(inflated) > max_remaining:
        raise BodyTooLarge(f"Expected a body of at most {max_bytes} bytes; inflated, it is larger.")
    if not inflater.eof:
        raise zlib.error
    return inflated, inflater.unused_data
