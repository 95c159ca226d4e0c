"""Search for names in the bytes of a body that nobody could read: compressed, cut off, in another character set. Pure."""

import re
import zlib
from collections.abc import Iterator, Sequence
from urllib.parse import unquote_plus

_MAX_INFLATED_BYTES = 64 << 20
_GZIP, _ZLIB = 31, 15  # zlib's `wbits`: the container that it expects
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # in no text of one byte for a character
_FEW = 20  # one zero byte in so many: a text of two or four bytes for a character has more, a compressed one has not
_SHORT_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)  # of a JSON string


def find_names(content: bytes, names: Sequence[str]) -> bool | None:
    """Tell whether bytes contain one of these names, ignoring case; None if they cannot be searched to their end.

    Gzip and zlib are inflated, escapes of JSON and of forms undone, and the usual character sets tried.
    """
    inflated, is_whole = _inflate(content)
    folded = [name.casefold() for name in names]
    codings, is_text = _guess_codings(inflated)
    texts = (text.casefold() for coding in codings for text in _decode(inflated, coding))
    if any(name in text for text in texts for name in folded):
        return True
    return False if is_whole and is_text else None


def _inflate(content: bytes) -> tuple[bytes, bool]:
    """Return the inflated bytes, or the same if they are not compressed, and whether all of them are there to be searched.

    Of a stream that was cut off, everything that came is.
    """
    is_gzip = content[:2] == b"\x1f\x8b"
    if not is_gzip and (content[:1] != b"x" or int.from_bytes(content[:2]) % 31):
        return content, True
    pieces: list[bytes] = []
    left = _MAX_INFLATED_BYTES
    rest = content
    while rest and left > 0:
        stream = zlib.decompressobj(_GZIP if is_gzip else _ZLIB)
        try:
            pieces.append(stream.decompress(rest, left))
        except zlib.error:
            return (b"".join(pieces), False) if is_gzip else (content, True)
        left -= len(pieces[-1])
        rest = stream.unused_data
    return b"".join(pieces), left > 0


def _guess_codings(content: bytes) -> tuple[Sequence[str], bool]:
    """Return the character sets that bytes may be in, and whether they are a text at all."""
    if content.startswith(_BYTE_ORDER_MARKS) or content.count(0) * _FEW >= len(content) > 0:
        return _WIDE, True
    try:
        content.decode()
    except UnicodeDecodeError:
        return ("utf-8", "cp1252"), _BINARY.search(content) is None
    return ("utf-8",), True


def _decode(content: bytes, coding: str) -> Iterator[str]:
    """Yield the text in a character set, with its escapes and without."""
    text = content.decode(coding, "replace")
    yield text
    if "%" in text:
        text = unquote_plus(text)
        yield text
    if "\\" in text:
        yield _ESCAPE.sub(_undo_escape, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _undo_escape(found: re.Match[str]) -> str:
    escaped = found[1]
    return chr(int(escaped[1:], 16)) if len(escaped) > 1 else _SHORT_ESCAPES.get(escaped, escaped)
