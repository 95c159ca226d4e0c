"""Plans for erasing the personal data of one tracker. Pure.

Personal data is in the content that senders wrote: the shipment block, bodies, the bytes in quarantine. Ids, verdicts, statuses
and locations of events stay: they describe the parcel, and they keep an old message from taking effect again.

In a body with other trackers, the items of this one become `null`, so that the others keep their positions. If the body could not
be read as before after that, it is removed whole.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import orjson

from receiver.domain.reading import read_json
from receiver.domain.records import Message
from receiver.errors import InvalidJson, Unreadable

_MIN_NAME_CHARACTERS = 8  # shorter numbers occur in too many bodies by chance
BLANK = b"null"
"""An erased item as canonical JSON."""

ReadItems = Callable[[bytes], list[Message]]


class ErasureSubject(NamedTuple):
    """The tracker to erase. `names` are searched for in content that belongs to no known tracker."""

    source: str
    tracker_id: str
    names: tuple[str, ...]


class StoredPart(NamedTuple):
    """A part of a delivery that is in quarantine."""

    id: str
    position: int
    tracker_id: str | None
    raw: bytes


class StoredBody(NamedTuple):
    """The stored content of a delivery. `body` is None once it is pruned. `places` are the known positions of the tracker's
    items."""

    delivery_id: str
    kind: str
    body: bytes | None
    places: frozenset[int]
    parts: tuple[StoredPart, ...]


class Erasure(NamedTuple):
    """The plan for a delivery: remove or replace its body, and empty these parts in quarantine."""

    delivery_id: str
    removed: bool
    body: bytes | None
    parts: tuple[str, ...]


class ErasureCounts(NamedTuple):
    """What was erased: removed bodies, rewritten bodies, emptied parts in quarantine."""

    removed: int = 0
    rewritten: int = 0
    emptied: int = 0

    def add(self, erasure: Erasure) -> "ErasureCounts":
        """Return the counts with one more delivery."""
        rewritten = self.rewritten + (erasure.body is not None)
        return ErasureCounts(self.removed + erasure.removed, rewritten, self.emptied + len(erasure.parts))


def plan_erasure(tracked: ErasureSubject, stored: StoredBody, split: ReadItems | None) -> Erasure | None:
    """Return the plan for a delivery; None if it has nothing of the tracker. `split` reads bodies of its kind."""
    removed, body, places = _look_at_body(tracked, stored, split)
    parts = tuple(part.id for part in stored.parts if part.raw and (part.position in places or _is_part_of(part, tracked)))
    return Erasure(stored.delivery_id, removed, body, parts) if removed or body is not None or parts else None


def _look_at_body(
    tracked: ErasureSubject, stored: StoredBody, split: ReadItems | None
) -> tuple[bool, bytes | None, Collection[int]]:
    """Return whether to remove the body, or else its replacement, and the positions of the tracker's items."""
    if stored.body is None:
        return False, None, stored.places
    try:
        messages = split(stored.body) if split is not None else None
    except Unreadable:
        messages = None
    if messages is None or any(place >= len(messages) for place in stored.places):
        return bool(stored.places) or mentions(stored.body, tracked.names), None, stored.places
    left = {message.position for message in messages if message.raw != BLANK}
    places = {message.position for message in messages if _is_about(message, tracked)} | stored.places
    if not places & left:
        return False, None, places
    body = blank_items(stored.body, split, places) if split is not None and left - places else None
    return body is None, body, places


def blank_items(body: bytes, split: ReadItems, places: Collection[int]) -> bytes | None:
    """Return a body with `null` for the items at these positions; None if the other items could not be read as before."""
    before = split(body)
    try:
        root = read_json(body, exact=True)
    except InvalidJson:
        return None
    for items in _find_lists(root):
        if len(items) == len(before):
            items[:] = [None if place in places else item for place, item in enumerate(items)]
    try:
        written = orjson.dumps(root)
        after = split(written)
    except (orjson.JSONEncodeError, Unreadable):
        return None
    return written if len(after) == len(before) and _are_blanked(before, after, places) else None


def mentions(content: bytes, names: Sequence[str]) -> bool:
    """Tell whether some JSON contains one of these names, ignoring case."""
    low = content.lower()
    return any(orjson.dumps(name)[1:-1].lower() in low for name in names if len(name) >= _MIN_NAME_CHARACTERS)


def _find_lists(root: Any) -> list[list[Any]]:
    """Return the lists that may be the items of a body."""
    return [root] if isinstance(root, list) else [value for value in root.values() if isinstance(value, list)]


def _are_blanked(before: Sequence[Message], after: Sequence[Message], places: Collection[int]) -> bool:
    """Tell whether exactly these items are erased and the others unchanged."""
    pairs = zip(before, after, strict=True)
    return all(new.raw == BLANK if old.position in places else new == old for old, new in pairs)


def _is_about(message: Message, tracked: ErasureSubject) -> bool:
    """Tell whether an item belongs to the tracker or mentions it: a manifest lists its packages, a flawed item may have no id."""
    if message.tracker_id == tracked.tracker_id or any(link.package == tracked.tracker_id for link in message.links):
        return True
    return message.tracker_id is None and mentions(message.raw, tracked.names)


def _is_part_of(part: StoredPart, tracked: ErasureSubject) -> bool:
    return part.tracker_id == tracked.tracker_id or (part.tracker_id is None and mentions(part.raw, tracked.names))
