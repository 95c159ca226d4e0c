"""A body for a page: JSON as a tree that can be folded, anything else as text. Its size is bounded. Pure."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

MAX_SHOWN_BYTES = 20_000
_MAX_PARTS = 150_000  # of a body that is shown as a tree; one with more is shown as text
_MAX_NODES = 1500
_MAX_CHILDREN = 100
_MAX_DEPTH = 24
_MAX_CHARACTERS = 400
_OPEN_LEVELS = 2
_NAMED = 5
_PREVIEW_CHARACTERS = 60


class ScalarText(str):
    """A number as it was written: `1.0e2` stays `1.0e2`."""


class Members(list[tuple[str, Any]]):
    """The members of an object in their order, repeated names included."""


class Node(NamedTuple):
    """One value of the tree.

    `kind` is object, array, string, number, word (true, false, null) or rest (`size` values that are not shown). `text` is the
    value as written; for an object it is the names of its first members.
    """

    kind: str
    name: str | None
    text: str
    size: int
    children: tuple["Node", ...]
    open: bool


class JsonTree(NamedTuple):
    """A body for a page: a tree, or text and the number of bytes left out."""

    tree: Node | None
    text: str
    left_bytes: int


def make_tree(body: bytes) -> JsonTree:
    """Return a body for a page."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") <= _MAX_PARTS:
        try:
            return JsonTree(_TreeBuilder().build(_read(body.decode("utf-8-sig"))), "", 0)
        except (ValueError, RecursionError):
            pass
    shown = body[:MAX_SHOWN_BYTES]
    return JsonTree(None, shown.decode("utf-8", "backslashreplace"), len(body) - len(shown))


def _read(text: str) -> Any:
    """Read JSON without loss: repeated names stay, and numbers stay as they are written."""
    return json.loads(text, object_pairs_hook=Members, parse_float=ScalarText, parse_int=ScalarText, parse_constant=ScalarText)


class _TreeBuilder:
    """Makes the nodes of one value, up to a bound."""

    def __init__(self) -> None:
        self._left = _MAX_NODES

    def build(self, value: Any, name: str | None = None, depth: int = 0) -> Node:
        self._left -= 1
        if isinstance(value, Members):
            return self._gather("object", name, [*value], depth)
        if isinstance(value, list):
            return self._gather("array", name, [(None, item) for item in value], depth)
        if isinstance(value, str):
            kind = "number" if isinstance(value, ScalarText) else "string"
            return Node(kind, name, _cut(value), len(value), (), open=False)
        return Node("word", name, json.dumps(value), 0, (), open=False)

    def _gather(self, kind: str, name: str | None, pairs: list[tuple[str | None, Any]], depth: int) -> Node:
        children = tuple(self._build_children(pairs, depth))
        names = ", ".join(member for member, _ in pairs[:_NAMED] if member is not None)
        preview = _cut(names, _PREVIEW_CHARACTERS) + (", …" if names and len(pairs) > _NAMED else "")
        return Node(kind, name, preview, len(pairs), children, open=depth < _OPEN_LEVELS or len(pairs) == 1)

    def _build_children(self, pairs: list[tuple[str | None, Any]], depth: int) -> Iterator[Node]:
        for number, (name, value) in enumerate(pairs):
            if number == _MAX_CHILDREN or self._left <= 0 or depth == _MAX_DEPTH:
                yield Node("rest", None, "", len(pairs) - number, (), open=False)
                return
            yield self.build(value, None if name is None else _cut(name), depth + 1)


def _cut(text: str, characters: int = _MAX_CHARACTERS) -> str:
    return text if len(text) <= characters else text[:characters] + "…"
