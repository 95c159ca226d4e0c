"""From bytes to values that every store can keep: JSON leniently read, text and identities bounded."""

import hashlib
import json
import re
from typing import Any

import orjson

from receiver.domain.storable import make_storable
from receiver.domain.trimming import trim
from receiver.errors import InvalidJson

MAX_ITEMS = 10_000
"""Items and events in one body; a call with more is kept as unreadable. Ship24 groups far fewer."""

_MAX_TEXT = 2000
_MAX_KEY = 200
_LONG_NUMBER = re.compile(rb"[:,\[]\s*-?[0-9]{19}")
_INT64 = range(-(2**63), 2**63)


def read_json(body: bytes, *, exact: bool = False) -> Any:
    """Parse a body. Raises InvalidJson naming the place.

    With `exact`, for bodies that somebody designed: whole numbers beyond 64 bits are kept as their digits, and control characters
    that a template put into a string, such as a line break, are read.

    What strict parsing refuses but senders really produce is read all the same: a byte order mark, and halves of surrogate pairs
    (a JavaScript sender that cut a courier's text in the middle of an emoji), which become U+FFFD.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as strict:
        try:
            return _read_leniently(body, strict=not exact)
        except (ValueError, RecursionError):
            raise InvalidJson(f"The body must be JSON: {strict}.") from None
    return _read_leniently(body, strict=False) if exact and _LONG_NUMBER.search(body) else value


def _read_leniently(body: bytes, *, strict: bool) -> Any:
    value = json.loads(
        body.decode("utf-8-sig"),
        strict=strict,
        parse_constant=_refuse_constant,
        parse_int=_bounded,
        parse_float=_bounded,
    )
    # Out through UTF-16 and back: pairs join, halves are replaced.
    return orjson.loads(json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def canonical(value: Any) -> bytes | None:
    """Return compact JSON with sorted keys, or None if the value is nested too deeply to be written."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None


def digest(raw: bytes) -> str:
    """Return 32 hexadecimal digits that are equal for equal content."""
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def text(value: object, limit: int = _MAX_TEXT) -> str | None:
    """Return a string that a database can keep: no NUL, cut at `limit`. Numbers are written out; anything else is None."""
    if isinstance(value, str):
        return make_storable(value, limit) if "\0" in value else value[:limit]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def label(value: object) -> str | None:
    """Return a short string that may stand in an index, such as a tracking number, trimmed."""
    return text(trim(value) if isinstance(value, str) else value, _MAX_KEY)


def identity(value: object) -> str | None:
    """Return an opaque identity, trimmed, or None if there is none. One too long for an index is replaced by its hash."""
    if not isinstance(value, str):
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
    value = trim(value)
    if len(value) > _MAX_KEY or "\0" in value:
        return "blake2b:" + digest(value.encode())
    return value or None


def trim_all(value: Any) -> Any:
    """Return some JSON with every text in it trimmed; keys stay as they are."""
    if isinstance(value, str):
        return trim(value)
    if isinstance(value, dict):
        return {key: trim_all(inner) for key, inner in value.items()}
    return [trim_all(inner) for inner in value] if isinstance(value, list) else value


def integer(value: object) -> int | None:
    """Return a whole number that fits 64 bits, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value in _INT64 else None


def mapping(value: object) -> dict[str, Any]:
    """Return an object, or an empty one where null, nothing or something else stands."""
    return value if isinstance(value, dict) else {}


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _bounded(digits: str) -> int | float | str:
    """Read a number; one that no database can hold stays as it was written."""
    if digits.lstrip("-").isdigit():
        return int(digits) if len(digits) < 20 and int(digits) in _INT64 else digits
    number = float(digits)
    return number if abs(number) < float("inf") else digits
