"""Plans for erasing the personal data of one tracker. Pure.

Personal data is in the content that senders wrote: the shipment block, bodies, the bytes in quarantine. Ids, verdicts, statuses
and locations of events stay: they describe the parcel, and they keep an old message from taking effect again.

In a body with other trackers, the items of this one become `null`, so that the others keep their positions. If the rewritten body
would not be read as before, the whole body is removed.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import orjson

from receiver.clock import iso
from receiver.domain.body_search import find_names
from receiver.domain.reading import read_json
from receiver.domain.records import Message
from receiver.errors import InvalidJson, Unreadable

_MIN_NAME_CHARACTERS = 8  # shorter ones occur in too many bodies by chance
BLANK = b"null"
"""An erased item as canonical JSON."""

ReadItems = Callable[[bytes], list[Message]]
"""Reads a body into its items, in their order."""


class ErasureSubject(NamedTuple):
    """The tracker to erase. Content without a known tracker is erased if it contains one of its `names`."""

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
    """The stored content of a delivery. `body` is None if it was pruned.

    `positions` are the known positions of the tracker's items, `parts` the parts in quarantine. With `is_damaged`, the stored
    bytes of the body are not those that were written.
    """

    delivery_id: str
    kind: str
    body: bytes | None
    positions: frozenset[int]
    parts: tuple[StoredPart, ...]
    is_damaged: bool = False


class Erasure(NamedTuple):
    """The plan for a delivery. `removed`: remove its body. `body`: its new body, if any. `parts`: ids in quarantine to empty.

    With `unsearched`, its body stays, and nobody can tell whether it names the tracker.
    """

    delivery_id: str
    removed: bool
    body: bytes | None
    parts: tuple[str, ...]
    unsearched: bool = False


class ErasureCounts(NamedTuple):
    """The numbers of removed bodies, rewritten bodies, emptied parts in quarantine, and bodies that could not be searched."""

    removed: int = 0
    rewritten: int = 0
    emptied: int = 0
    unreadable: int = 0

    def add(self, erasure: Erasure) -> "ErasureCounts":
        """Return the counts with one more delivery."""
        rewritten = self.rewritten + (erasure.body is not None)
        emptied = self.emptied + len(erasure.parts)
        return ErasureCounts(self.removed + erasure.removed, rewritten, emptied, self.unreadable + erasure.unsearched)

    def plus(self, other: "ErasureCounts") -> "ErasureCounts":
        """Return the sum of the counts of two trackers."""
        return ErasureCounts(*(sum(pair) for pair in zip(self, other, strict=True)))


class ErasureReceipt(NamedTuple):
    """The receipt of an erasure; it has no personal data. `erased_at` is in microseconds since 1970.

    `trackers` are sources and tracker IDs. `wal_checkpointed` is false if SQLite's WAL still contains the erased bytes.
    """

    erased_at: int
    trackers: tuple[tuple[str, str], ...]
    counts: ErasureCounts
    wal_checkpointed: bool

    def as_json(self) -> dict[str, Any]:
        """Return the receipt for `--json`."""
        trackers = ["/".join(key) for key in self.trackers]
        done = {"trackers": trackers, **self.counts._asdict(), "wal_checkpointed": self.wal_checkpointed}
        return {"erased_at": iso(self.erased_at), **done}


def plan_erasure(subject: ErasureSubject, stored: StoredBody, split: ReadItems | None) -> Erasure | None:
    """Return the plan for a delivery; None if it has nothing of the tracker.

    `split` reads bodies of its kind; None: the kind is no longer known.
    """
    removed, body, positions = _plan_body(subject, stored, split)
    parts = tuple(part.id for part in stored.parts if part.raw and (part.position in positions or _is_part_of(part, subject)))
    if removed or body is not None or parts or removed is None:
        return Erasure(stored.delivery_id, bool(removed), body, parts, unsearched=removed is None)
    return None


def _plan_body(
    subject: ErasureSubject, stored: StoredBody, split: ReadItems | None
) -> tuple[bool | None, bytes | None, Collection[int]]:
    """Return whether to remove the body, the body that replaces it (None: none), and the positions of the tracker's items.

    None: the body stays, and nobody can tell whether it names the tracker.
    """
    if stored.body is None:
        return None if stored.is_damaged else False, None, stored.positions
    try:
        messages = split(stored.body) if split is not None else None
    except Unreadable:
        messages = None
    if messages is None or any(position >= len(messages) for position in stored.positions):
        return bool(stored.positions) or mentions(stored.body, subject.names), None, stored.positions
    remaining = {message.position for message in messages if message.raw != BLANK}
    positions = {message.position for message in messages if _is_about(message, subject)} | stored.positions
    too_deep = {message.position for message in messages if not message.raw}
    if too_deep and mentions(stored.body, subject.names):  # such an item cannot be searched by itself
        positions |= too_deep
    if not positions & remaining:
        return False, None, positions
    body = blank_items(stored.body, split, positions) if split is not None and remaining - positions else None
    return body is None, body, positions


def blank_items(body: bytes, split: ReadItems, positions: Collection[int]) -> bytes | None:
    """Return a body with `null` for the items at these positions; None if the other items would not be read as before."""
    before = split(body)
    try:
        root = read_json(body, exact=True)
    except InvalidJson:
        return None
    for items in _find_lists(root):
        if len(items) == len(before):
            items[:] = [None if position in positions else item for position, item in enumerate(items)]
    try:
        written = orjson.dumps(root)
        after = split(written)
    except (orjson.JSONEncodeError, Unreadable):
        return None
    return written if len(after) == len(before) and _are_blanked(before, after, positions) else None


def mentions(content: bytes, names: Sequence[str]) -> bool | None:
    """Tell whether content contains one of these names, ignoring case; None if it cannot be searched."""
    return find_names(content, [name for name in names if len(name) >= _MIN_NAME_CHARACTERS])


def _find_lists(root: Any) -> list[list[Any]]:
    """Return the lists that may be the items of a body."""
    return [root] if isinstance(root, list) else [value for value in root.values() if isinstance(value, list)]


def _are_blanked(before: Sequence[Message], after: Sequence[Message], positions: Collection[int]) -> bool:
    """Tell whether exactly these items are erased and the others unchanged."""
    pairs = zip(before, after, strict=True)
    return all(new.raw == BLANK if old.position in positions else new == old for old, new in pairs)


def _is_about(message: Message, subject: ErasureSubject) -> bool:
    """Tell whether an item belongs to the tracker or mentions it.

    A manifest lists its packages, by their ids or their numbers, and a quarantined item may have no tracker id.
    """
    if message.tracker_id == subject.tracker_id or any(link.package == subject.tracker_id for link in message.links):
        return True
    return (message.tracker_id is None or message.subject == "manifest") and bool(mentions(message.raw, subject.names))


def _is_part_of(part: StoredPart, subject: ErasureSubject) -> bool:
    return part.tracker_id == subject.tracker_id or (part.tracker_id is None and bool(mentions(part.raw, subject.names)))
