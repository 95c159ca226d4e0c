"""Field paths: the location of a value in a body that an administrator designed.

A *field path* is a JSON Pointer (`/parcels/0/tn`) or a dotted path (`data.tracking_number`), taken literally. A field without
one is found by its normalized names at any depth: `TrackingNumber`, `tracking_number` and `tracking-number` are the same.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from receiver.domain.trimming import trim

_MAX_DEPTH = 4
_MAX_KEYS = 500
_INDEX = re.compile(r"[0-9]{1,6}")
_VARIABLE = re.compile(r"\s*\{\{.*\}\}\s*", re.DOTALL)  # Shiipp sends a mistyped variable unchanged

FieldPaths = Mapping[str, Sequence[str]]
"""The field paths of each of our fields, in the order in which they are tried."""


def check_field_path(path: str) -> None:
    """Raise ValueError unless the text is a JSON Pointer or a dotted path."""
    if not path.strip() or "" in path.removeprefix("/").split("/" if path.startswith("/") else "."):
        raise ValueError(f"{path!r} is neither a dotted path like data.tracking_number nor a JSON Pointer like /data/0/id")


def look_up(item: object, path: str) -> Any:
    """Return the value at a field path, or None."""
    if path.startswith("/"):
        steps = [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]
    else:
        steps = path.split(".")
    for step in steps:
        if isinstance(item, dict):
            item = item.get(step)
        elif isinstance(item, list) and _INDEX.fullmatch(step) and int(step) < len(item):
            item = item[int(step)]
        else:
            return None
    return item


def is_missing(value: object) -> bool:
    """Tell whether a value is empty: absent, null, blank, or a template variable that was not filled in."""
    return value is None or (isinstance(value, str) and (not trim(value) or _VARIABLE.fullmatch(value) is not None))


def normalize(name: str) -> str:
    """Return a key in lower case, without blanks and punctuation."""
    return "".join(character for character in name.casefold() if character.isalnum())


def flatten(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return every value of nested objects by its normalized path, such as `data.trackingnumber`, the shallowest first.

    At most 500 values, four levels deep.
    """
    found: dict[str, Any] = {}
    level: list[tuple[str, Mapping[str, Any]]] = [("", item)]
    for _ in range(_MAX_DEPTH):
        deeper: list[tuple[str, Mapping[str, Any]]] = []
        for prefix, mapping in level:
            for key, value in mapping.items():
                if len(found) >= _MAX_KEYS:
                    return found
                path = prefix + normalize(key)
                found.setdefault(path, value)
                if isinstance(value, dict):
                    deeper.append((f"{path}.", value))
        level = deeper
    return found


def find_value(flattened: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the first value under one of these normalized names that is not missing, or None. The shallowest one comes first."""
    for name in names:
        ending = f".{name}"
        for path, value in flattened.items():
            if (path == name or path.endswith(ending)) and not isinstance(value, dict) and not is_missing(value):
                return value
    return None
