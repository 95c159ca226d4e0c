"""Hypothesis strategies: consistent parcel histories and malformed bodies."""

import json
from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.harness import ship24
from tests.harness.ship24 import Item

_ZONES = ("Z", "+02:00", "-05:30", "+14:00")
_START = datetime(2025, 3, 1, 22, 0)  # noqa: DTZ001  a courier's wall clock


class History(NamedTuple):
    """All items about one tracker; `last` is the id of the event that happened last."""

    items: tuple[Item, ...]
    last: str | None


def _write(draw: st.DrawFn, wall: datetime, zone: str) -> str:
    form = draw(st.sampled_from(["wall", "zone", "day"]))
    if form == "day":
        return wall.date().isoformat()
    return wall.isoformat() + (zone if form == "zone" else "")


@st.composite
def _events(draw: st.DrawFn, name: str) -> list[Item]:
    """Events in the order in which they happened: times in one zone that never go back, `order` always going up."""
    zone = draw(st.sampled_from(_ZONES))
    steps = draw(st.lists(st.tuples(st.sampled_from([0, 1, 90, 60 * 24]), st.integers(1, 3)), max_size=6))
    wall, order, events = _START, 0, []
    for number, (minutes, step) in enumerate(steps):
        wall, order = wall + timedelta(minutes=minutes), order + step
        fields = {"order": order, "status": f"step {number}", "location": draw(st.sampled_from([None, "Lyon"]))}
        events.append(ship24.event(f"{name}-e{number}", _write(draw, wall, zone), **fields))
    return events


@st.composite
def histories(draw: st.DrawFn, name: str) -> History:
    """The items of one tracker: each event in at least one of them, some in several, some items without any."""
    events = draw(_events(name))
    groups: list[list[Item]] = [[event] for event in events]
    if events:
        groups += draw(st.lists(st.lists(st.sampled_from(events), max_size=4, unique_by=id), max_size=3))
    groups += [[]] * draw(st.integers(0 if events else 1, 2))
    items = tuple(_item(draw, f"{name}-m{number}", name, group) for number, group in enumerate(groups))
    return History(items, events[-1]["eventId"] if events else None)


def _item(draw: st.DrawFn, message_id: str, tracker_id: str, events: Sequence[Item]) -> Item:
    built = draw(
        st.sampled_from([None, "garbage", "1960-01-01T00:00:00Z", "2025-03-05T10:00:00.000Z", "2025-03-05T10:00:00.001Z"])
    )
    item = ship24.item(message_id, tracker_id, draw(st.permutations(events)), built)
    item["tracker"]["clientTrackerId"] = draw(st.sampled_from([None, "mine", "theirs"]))
    item["shipment"] = draw(st.sampled_from([None, {"statusMilestone": message_id}, item["shipment"]]))
    return item


@st.composite
def arrivals(draw: st.DrawFn, items: Sequence[Item]) -> list[list[bytes]]:
    """The same items in another order, some more than once, in groups of their own, in batches of their own."""
    copies = draw(st.lists(st.sampled_from(items), max_size=6))
    shuffled = draw(st.permutations([*items, *copies]))
    bodies = [ship24.body(*group) for group in _cut(draw, shuffled)]
    return _cut(draw, bodies)


def _cut(draw: st.DrawFn, things: Sequence[Any]) -> list[list[Any]]:
    pieces: list[list[Any]] = []
    left = list(things)
    while left:
        size = draw(st.integers(1, 5))
        pieces.append(left[:size])
        left = left[size:]
    return pieces


# Malformed bodies

PLACE_OF_NUMBER = b"<number>"
"""Stands in drawn bodies where a number that was never used belongs: what is drawn must not depend on what was drawn before."""

_NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e308, 2**63, -(2**63) - 1, 2**64, 10**400, float("nan"), float("-inf")),
    *("", " ", "\0", "a\0b", "\ud800", "\udfff tail", "\U0001f4e6" * 300, "x" * 5000, "\u202e", "\uffff", "null"),
    *("2025-02-30", "2025-13-01T00:00:00", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "9999-12-31", "0000-00-00"),
    *([], {}, [[]], [None], {"": None}, {"messageId": {}}, [{"eventId": 1}], {"\ud800": "\0"}, [[[[[]]]]] * 3),
)
_VALUES = st.one_of(
    st.sampled_from(_NASTY),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), _nested := lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ), max_leaves=8),
)  # fmt: skip


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [path, *(deeper for key in keys for deeper in _paths(value[key], (*path, key)))]


def _put(root: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    holder = root
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return root


def _fresh(place: int = 0) -> Item:
    name = f"{PLACE_OF_NUMBER.decode()}-{place}"
    return ship24.item(f"m-{name}", f"t-{name}", [ship24.event(f"e-{name}"), ship24.event(f"f-{name}", "2025-03-02")])


@st.composite
def _swapped(draw: st.DrawFn) -> bytes:
    """A body of the right shape with wrong values at some places."""
    root: Any = {"trackings": [_fresh(place) for place in range(draw(st.integers(1, 3)))]}
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(_paths(root)))
        root = _put(root, path, deepcopy(draw(_VALUES)))  # a later round may write into it
    return json.dumps(root).encode()  # NaN, and halves of surrogate pairs as escapes


@st.composite
def _cut_up(draw: st.DrawFn) -> bytes:
    """A good body with bytes taken out, put in, or written over."""
    body = ship24.body(_fresh(0), _fresh(1))
    for _ in range(draw(st.integers(1, 5))):
        place, gone = draw(st.integers(0, len(body))), draw(st.integers(0, 8))
        piece = draw(
            st.binary(max_size=6)
            | st.sampled_from([b'"', b"{", b"}", b"[", b"]", b",", b"\x00", b"\xff", b"\\ud800", b"9" * 400])
        )
        body = body[:place] + piece + body[place + gone :]
    return body


@st.composite
def _doubled(draw: st.DrawFn) -> bytes:
    """A valid body with duplicate keys."""
    key = draw(st.sampled_from(["trackings", "metadata", "messageId", "tracker", "trackerId", "events", "eventId", "shipment"]))
    again = json.dumps({key: draw(_VALUES)})[1:-1].encode()
    return ship24.body(_fresh()).replace(f'"{key}"'.encode(), again + b', "%s"' % key.encode(), 1)


@st.composite
def _deep(draw: st.DrawFn) -> bytes:
    """A body with something nested too deeply."""
    depth = draw(st.sampled_from([10, 200, 300, 1000, 1100, 20_000]))
    opening, closing = draw(st.sampled_from([(b"[", b"]"), (b'{"a":', b"}")]))
    nest = opening * depth + b"1" + closing * draw(st.sampled_from([depth, depth - 1]))
    return ship24.body(_fresh()).replace(draw(st.sampled_from([b'"Lyon"', b'"transit"', b"true", b"null"])), nest, 1)


def bodies() -> st.SearchStrategy[bytes]:
    """Bodies of every kind of wrong."""
    return st.one_of(st.binary(max_size=200), _swapped(), _swapped(), _cut_up(), _doubled(), _deep())
