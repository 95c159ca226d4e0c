"""Bytes for the page of a call: JSON as parts that fold, anything else as text. Bounded, whatever the size. Pure."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

MAX_SHOWN_LETTERS = 20_000
_MAX_PARTS = 150_000  # of a body that is read for its parts; a longer one is shown as text
_MAX_NODES = 1500
_MAX_CHILDREN = 100
_MAX_DEPTH = 24
_MAX_LETTERS = 400
_OPEN_LEVELS = 2
_NAMED = 5
_PREVIEW_LETTERS = 60


class ScalarText(str):
    """A number as it was written: `1.0e2` stays that."""


class Members(list[tuple[str, Any]]):
    """An object with its members as they came, repeated names too."""


class Node(NamedTuple):
    """One value: `kind` is object, array, string, number, word or rest (`size` things that are not shown).

    `text` is what is written; of an object the names of its first members.
    """

    kind: str
    name: str | None
    text: str
    size: int
    children: tuple["Node", ...]
    open: bool


class JsonTree(NamedTuple):
    """A body as it is shown: a tree, or text with the number of bytes that are left out."""

    tree: Node | None
    text: str
    left_bytes: int


def fold(body: bytes) -> JsonTree:
    """Return a body for a page."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") <= _MAX_PARTS:
        try:
            value = json.loads(
                body.decode("utf-8-sig"),
                object_pairs_hook=Members,
                parse_float=ScalarText,
                parse_int=ScalarText,
                parse_constant=ScalarText,
            )
            return JsonTree(_TreeBuilder().fold(value), "", 0)
        except (ValueError, RecursionError):
            pass
    shown = body[:MAX_SHOWN_LETTERS]
    return JsonTree(None, shown.decode("utf-8", "backslashreplace"), len(body) - len(shown))


def _read(text: str) -> Any:
    """Read JSON with nothing lost: repeated names, and numbers as they are written."""
    return json.loads(text, object_pairs_hook=Members, parse_float=ScalarText, parse_int=ScalarText, parse_constant=ScalarText)


class _TreeBuilder:
    """Folds one value within a number of nodes."""

    def __init__(self) -> None:
        self._left = _MAX_NODES

    def fold(self, value: Any, name: str | None = None, depth: int = 0) -> Node:
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
        children = tuple(self._fold_children(pairs, depth))
        names = ", ".join(member for member, _ in pairs[:_NAMED] if member is not None)
        preview = _cut(names, _PREVIEW_LETTERS) + (", …" if names and len(pairs) > _NAMED else "")
        return Node(kind, name, preview, len(pairs), children, open=depth < _OPEN_LEVELS or len(pairs) == 1)

    def _fold_children(self, pairs: list[tuple[str | None, Any]], depth: int) -> Iterator[Node]:
        for place, (name, value) in enumerate(pairs):
            if place == _MAX_CHILDREN or self._left <= 0 or depth == _MAX_DEPTH:
                yield Node("rest", None, "", len(pairs) - place, (), open=False)
                return
            yield self.fold(value, None if name is None else _cut(name), depth + 1)


def _cut(text: str, characters: int = _MAX_LETTERS) -> str:
    return text if len(text) <= characters else text[:characters] + "…"
