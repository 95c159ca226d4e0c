"""Where to look in a body that somebody else designed: keys, nesting and presence are free.

A *place* is a JSON Pointer (`/parcels/0/tn`) or a dotted path (`data.tracking_number`), taken literally. The default places are
folded names: `TrackingNumber`, `tracking_number` and `tracking-number` are the same, at any depth.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from receiver.domain.trimming import trim

_MAX_DEPTH = 4
_MAX_KEYS = 500
_INDEX = re.compile(r"[0-9]{1,6}")
_VARIABLE = re.compile(r"\s*\{\{.*\}\}\s*", re.DOTALL)  # a mistyped variable arrives literally

Places = Mapping[str, Sequence[str]]


def check_place(place: str) -> None:
    """Raise ValueError unless the place is a JSON Pointer or a dotted path."""
    if not place.strip() or place == "/" or "" in place.removeprefix("/").split("/" if place.startswith("/") else "."):
        raise ValueError(f"{place!r} is neither a dotted path like data.tracking_number nor a JSON Pointer like /data/0/id")


def look_up(item: object, place: str) -> Any:
    """Return what stands at a literal place, or None."""
    if place.startswith("/"):
        steps = [step.replace("~1", "/").replace("~0", "~") for step in place[1:].split("/")]
    else:
        steps = place.split(".")
    for step in steps:
        if isinstance(item, dict):
            item = item.get(step)
        elif isinstance(item, list) and _INDEX.fullmatch(step) and int(step) < len(item):
            item = item[int(step)]
        else:
            return None
    return item


def is_missing(value: object) -> bool:
    """Tell whether a value says nothing: absent, null, blank, or a variable that was not filled in."""
    return value is None or (isinstance(value, str) and (not trim(value) or _VARIABLE.fullmatch(value) is not None))


def fold(name: str) -> str:
    """Return a key without case, blanks and punctuation."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def unfold(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return every value of nested objects by its folded path, such as `data.trackingnumber`; the shallowest first."""
    found: dict[str, Any] = {}
    level: list[tuple[str, Mapping[str, Any]]] = [("", item)]
    for _ in range(_MAX_DEPTH):
        deeper: list[tuple[str, Mapping[str, Any]]] = []
        for prefix, mapping in level:
            for key, value in mapping.items():
                if len(found) >= _MAX_KEYS:
                    return found
                path = prefix + fold(key)
                found.setdefault(path, value)
                if isinstance(value, dict):
                    deeper.append((f"{path}.", value))
        level = deeper
    return found


def find_folded(unfolded: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the first value that is not missing among folded names, each at any depth, the shallowest first."""
    for name in names:
        ending = f".{name}"
        for path, value in unfolded.items():
            if (path == name or path.endswith(ending)) and not isinstance(value, dict) and not is_missing(value):
                return value
    return None
