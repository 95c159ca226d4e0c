"""What has to go so that a tracker's personal data is forgotten. Pure.

Personal data is in what senders wrote: the shipment block, bodies, the bytes of what was set apart. Identities, verdicts,
statuses and places of events stay; they are the parcel's, and what keeps an old message from coming in again.

Of a body that carries other trackers too, the items of this one become `null`, so that the others keep their places; what reads
the body then finds exactly those others, or else the body goes whole.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import orjson

from receiver.domain.reading import read_json
from receiver.domain.records import Message
from receiver.errors import InvalidJson, Unreadable

_TELLING_LETTERS = 8  # a shorter number stands in too many bodies by chance
BLANK = b"null"
"""An item that was erased, as canonical JSON."""

ReadItems = Callable[[bytes], list[Message]]


class ErasureSubject(NamedTuple):
    """Who is to be forgotten. `names` are what content is searched for that says of no tracker."""

    source: str
    tracker_id: str
    names: tuple[str, ...]


class StoredPart(NamedTuple):
    """Something of a call that was set apart."""

    id: str
    position: int
    tracker_id: str | None
    raw: bytes


class StoredBody(NamedTuple):
    """What is kept of a call: `body` is None once it is pruned. `places` are the items that are the tracker's on record."""

    delivery_id: str
    kind: str
    body: bytes | None
    places: frozenset[int]
    parts: tuple[StoredPart, ...]


class Erasure(NamedTuple):
    """What to do to a call: remove its body, or put another in its place; and empty these parts."""

    delivery_id: str
    removed: bool
    body: bytes | None
    parts: tuple[str, ...]


class ErasureCounts(NamedTuple):
    """What was done: bodies that went whole, bodies that were rewritten, parts that were emptied."""

    removed: int = 0
    rewritten: int = 0
    emptied: int = 0

    def add(self, erasure: Erasure) -> "ErasureCounts":
        """Return it with one more call done."""
        rewritten = self.rewritten + (erasure.body is not None)
        return ErasureCounts(self.removed + erasure.removed, rewritten, self.emptied + len(erasure.parts))


def plan_erasure(tracked: ErasureSubject, call: StoredBody, split: ReadItems | None) -> Erasure | None:
    """Return what has to be done to a call; None: nothing of the tracker is kept there. `split` reads bodies of its kind."""
    removed, body, places = _look_at_body(tracked, call, split)
    parts = tuple(part.id for part in call.parts if part.raw and (part.position in places or _is_part_of(part, tracked)))
    return Erasure(call.delivery_id, removed, body, parts) if removed or body is not None or parts else None


def _look_at_body(
    tracked: ErasureSubject, call: StoredBody, split: ReadItems | None
) -> tuple[bool, bytes | None, Collection[int]]:
    """Return whether the body goes whole, what else is put in its place, and which items are of the tracker."""
    if call.body is None:
        return False, None, call.places
    try:
        messages = split(call.body) if split is not None else None
    except Unreadable:
        messages = None
    if messages is None or any(place >= len(messages) for place in call.places):
        return bool(call.places) or mentions(call.body, tracked.names), None, call.places
    left = {message.position for message in messages if message.raw != BLANK}
    places = {message.position for message in messages if _is_about(message, tracked)} | call.places
    if not places & left:
        return False, None, places
    body = blank_items(call.body, split, places) if split is not None and left - places else None
    return body is None, body, places


def blank_items(body: bytes, split: ReadItems, places: Collection[int]) -> bytes | None:
    """Return a body with `null` for the items at these places; None if then the others would not be read as they were."""
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
    """Tell whether one of these names stands in some JSON, without case."""
    low = content.lower()
    return any(orjson.dumps(name)[1:-1].lower() in low for name in names if len(name) >= _TELLING_LETTERS)


def _find_lists(root: Any) -> list[list[Any]]:
    """Return the lists in which the items of a body may stand."""
    return [root] if isinstance(root, list) else [value for value in root.values() if isinstance(value, list)]


def _are_blanked(before: Sequence[Message], after: Sequence[Message], places: Collection[int]) -> bool:
    """Tell whether the right items are blank and the others are what they were."""
    pairs = zip(before, after, strict=True)
    return all(new.raw == BLANK if old.position in places else new == old for old, new in pairs)


def _is_about(message: Message, tracked: ErasureSubject) -> bool:
    """Tell whether an item is the tracker's, or names it: a manifest describes its packages, a flawed item may say no id."""
    if message.tracker_id == tracked.tracker_id or any(link.package == tracked.tracker_id for link in message.links):
        return True
    return message.tracker_id is None and mentions(message.raw, tracked.names)


def _is_part_of(part: StoredPart, tracked: ErasureSubject) -> bool:
    return part.tracker_id == tracked.tracker_id or (part.tracker_id is None and mentions(part.raw, tracked.names))
