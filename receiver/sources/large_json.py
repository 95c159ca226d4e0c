"""Parse a large JSON document in pieces.

A parser holds the interpreter lock until it is done, so a thread that parses many megabytes at once stops the event loop as well.
"""

import json
import re
from typing import Any

import orjson

_SMALL_BYTES = 1 << 18
_BLANK = re.compile(r"[ \t\n\r]*")
_scan = json.JSONDecoder().raw_decode


def load_large(content: bytes, depth: int, small_bytes: int = _SMALL_BYTES) -> Any:
    """Parse JSON as orjson does; of a large document, each value that is `depth` levels deep by itself. For a thread.

    Raises orjson.JSONDecodeError.
    """
    if len(content) <= small_bytes:
        return orjson.loads(content)
    try:
        text = content.decode()
        value, end = _read(text, _skip(text, 0), depth)
        if _skip(text, end) != len(text):
            raise _error("unexpected content after the document")
    except (UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
        raise _error(str(error)) from None
    return value


def _read(text: str, at: int, depth: int) -> tuple[Any, int]:
    """Return the value that begins at a place, and the place after it."""
    opening = text[at : at + 1]
    if depth and opening == "[":
        return _read_list(text, at, depth)
    if depth and opening == "{":
        return _read_object(text, at, depth)
    end = _scan(text, at)[1]
    return orjson.loads(text[at:end]), end  # it accepts less than `json` does


def _read_list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    at = _skip(text, at + 1)
    is_last = text[at : at + 1] == "]"
    while not is_last:
        item, at = _read(text, at, depth - 1)
        items.append(item)
        at, is_last = _go_on(text, at, "]")
    return items, at + 1


def _read_object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    fields: dict[str, Any] = {}
    at = _skip(text, at + 1)
    is_last = text[at : at + 1] == "}"
    while not is_last:
        name, at = _read(text, at, 0)
        at = _skip(text, at)
        if not isinstance(name, str) or text[at : at + 1] != ":":
            raise _error("expected a name and a colon")
        fields[name], at = _read(text, _skip(text, at + 1), depth - 1)
        at, is_last = _go_on(text, at, "}")
    return fields, at + 1


def _go_on(text: str, at: int, closing: str) -> tuple[int, bool]:
    """Return the place of the next item, or of the closing bracket and True."""
    at = _skip(text, at)
    if text[at : at + 1] == closing:
        return at, True
    if text[at : at + 1] != ",":
        raise _error(f"expected a comma or {closing}")
    return _skip(text, at + 1), False


def _skip(text: str, at: int) -> int:
    """Return the place after white space."""
    found = _BLANK.match(text, at)
    return at if found is None else found.end()


def _error(problem: str) -> orjson.JSONDecodeError:
    return orjson.JSONDecodeError(problem, "", 0)
