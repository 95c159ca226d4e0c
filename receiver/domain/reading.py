"""Reading of JSON bodies into values that every database can store: lenient JSON, bounded texts and ids."""

import hashlib
import json
import re
from typing import Any

import orjson

from receiver.domain.storable import make_storable
from receiver.domain.trimming import trim
from receiver.errors import InvalidJson

MAX_ITEMS = 10_000
"""Items and events in one body. A delivery with more is unreadable. Ship24 groups far fewer."""

_MAX_TEXT = 2000
_MAX_KEY = 200
_LONG_NUMBER = re.compile(rb"[:,\[]\s*-?[0-9]{19}")
_INT64 = range(-(2**63), 2**63)


def read_json(body: bytes, *, exact: bool = False) -> Any:
    """Parse a body. Raises InvalidJson with the position.

    Two mistakes of senders are accepted: a byte order mark, and halves of surrogate pairs (a JavaScript program cut a text in
    the middle of an emoji), which become U+FFFD.

    With `exact`, for bodies from an operator's own template, integers beyond 64 bits are kept as their digits, and control
    characters in strings, such as line breaks, are accepted.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as strict:
        try:
            return _read_leniently(body, strict=not exact)
        except (ValueError, RecursionError):
            raise InvalidJson(_explain(body, strict)) from None
    try:
        return _read_leniently(body, strict=False) if exact and _LONG_NUMBER.search(body) else value
    except RecursionError:  # the value is too deep to be stored
        return value


def _explain(body: bytes, error: orjson.JSONDecodeError) -> str:
    if not body.strip():
        return "The body is empty."
    try:
        body.decode()
    except UnicodeDecodeError:
        return "The body is not valid UTF-8."
    return f"The body must be JSON: {error}."


def _read_leniently(body: bytes, *, strict: bool) -> Any:
    value = json.loads(
        body.decode("utf-8-sig"),
        strict=strict,
        parse_constant=_refuse_constant,
        parse_int=_bounded,
        parse_float=_bounded,
    )
    # Through UTF-16 and back: surrogate pairs become characters, halves are replaced.
    return orjson.loads(json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def write_canonical(value: Any) -> bytes | None:
    """Return compact JSON with sorted keys, or None if the value is nested too deeply."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None


def digest(raw: bytes) -> str:
    """Return a hash of the content as 32 hexadecimal digits."""
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def read_text(value: object, limit: int = _MAX_TEXT) -> str | None:
    """Return a string that a database can store: without NUL, at most `limit` characters. Numbers become text; else None."""
    if isinstance(value, str):
        return make_storable(value, limit) if "\0" in value else value[:limit]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def read_short_text(value: object) -> str | None:
    """Return a trimmed string that is short enough for an index, such as a tracking number."""
    return read_text(trim(value) if isinstance(value, str) else value, _MAX_KEY)


def read_id(value: object) -> str | None:
    """Return a trimmed id, or None if there is none. A hash replaces an id that is too long for an index."""
    if not isinstance(value, str):
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
    value = trim(value)
    if len(value) > _MAX_KEY or "\0" in value:
        return "blake2b:" + digest(value.encode())
    return value or None


def trim_all(value: Any) -> Any:
    """Return a JSON value with every text trimmed, except the keys."""
    if isinstance(value, str):
        return trim(value)
    if isinstance(value, dict):
        return {key: trim_all(inner) for key, inner in value.items()}
    return [trim_all(inner) for inner in value] if isinstance(value, list) else value


def read_integer(value: object) -> int | None:
    """Return an integer that fits 64 bits, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value in _INT64 else None


def read_object(value: object) -> dict[str, Any]:
    """Return a JSON object, or an empty one if the value is something else."""
    return value if isinstance(value, dict) else {}


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _bounded(digits: str) -> int | float | str:
    """Read a number. One that no database can store stays text."""
    if digits.lstrip("-").isdigit():
        return int(digits) if len(digits) <= 20 and int(digits) in _INT64 else digits
    number = float(digits)
    return number if abs(number) < float("inf") else digits
