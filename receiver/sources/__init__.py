"""Senders, one file each. `make_sources` returns their paths with the functions that parse their bodies."""

from collections.abc import Callable
from dataclasses import dataclass

from receiver.domain.records import Message
from receiver.sources import shiipp, ship24
from receiver.sources.field_paths import FieldPaths

NAMES = ("ship24", "shiipp")


@dataclass(frozen=True, slots=True)
class Source:
    """One path that one sender posts to.

    `split` turns a body into messages in body order. It raises InvalidJson or UnexpectedShape, never because of a single item.
    `empty_body` is a valid body without items, for test requests. `sends_arrays`: the root of a body may be an array.
    """

    name: str
    kind: str
    path: str
    split: Callable[[bytes], list[Message]]
    empty_body: bytes
    sends_arrays: bool = False


def make_sources(new_package: FieldPaths, manifest_status: FieldPaths) -> tuple[Source, ...]:
    """Return all sources. The arguments are the settings' field paths for Shiipp."""
    package, manifest = shiipp.make_split("new-package", new_package), shiipp.make_split("manifest-status", manifest_status)
    return (
        Source("ship24", "tracking", "/webhooks/ship24", ship24.split, b'{"trackings":[]}'),
        Source("shiipp", "new-package", "/webhooks/shiipp/new-package", package, b"[]", sends_arrays=True),
        Source("shiipp", "manifest-status", "/webhooks/shiipp/manifest-status", manifest, b"[]", sends_arrays=True),
    )
