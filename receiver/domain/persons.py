"""Search for a person in the names and the shipment data of a tracker. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

_NAMES = ("tracking_number", "client_tracker_id", "shipment_reference", "tracker_id")
_MAX_SHOWN = 5


def find_person(tracker: Mapping[str, Any], term: str) -> dict[str, str] | None:
    """Return the fields of a tracker that contain a word of a term, at most five; None if one of its words is nowhere.

    Upper and lower case are equal. A field of the shipment data is named by its path, such as `shipment.recipient.name`.
    """
    words = term.casefold().split()
    fields = {name: str(tracker[name]) for name in _NAMES if tracker[name]}
    if tracker["shipment"] is not None:
        fields |= dict(_list_texts(orjson.loads(tracker["shipment"]), "shipment"))
    folded = {path: text.casefold() for path, text in fields.items()}
    if not words or any(all(word not in text for text in folded.values()) for word in words):
        return None
    found = [path for path, text in folded.items() if any(word in text for word in words)]
    return {path: fields[path] for path in found[:_MAX_SHOWN]}


def _list_texts(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every string and number in a JSON value, without recursion."""
    waiting = [(path, value)]
    while waiting:
        at, part = waiting.pop()
        if isinstance(part, dict):
            waiting += [(f"{at}.{name}", child) for name, child in reversed(part.items())]
        elif isinstance(part, list):
            waiting += [(f"{at}.{place}", child) for place, child in reversed(list(enumerate(part)))]
        elif isinstance(part, str | int | float) and not isinstance(part, bool):
            yield at, str(part)
