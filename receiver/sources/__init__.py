"""One file per sender; `make_sources` says at which paths each of them calls and who reads its bodies."""

from collections.abc import Callable
from dataclasses import dataclass

from receiver.domain.records import Message
from receiver.sources import shiipp, ship24
from receiver.sources.field_paths import Places

NAMES = ("ship24", "shiipp")


@dataclass(frozen=True, slots=True)
class Source:
    """One path that one sender posts to.

    `split` turns a body into messages in body order; it raises InvalidJson or UnexpectedShape, never because of one item.
    `nothing` is a body of the right form without any item, to try the path with.
    """

    name: str
    kind: str
    path: str
    split: Callable[[bytes], list[Message]]
    nothing: bytes


def make_sources(new_package: Places, manifest_status: Places) -> tuple[Source, ...]:
    """Return all sources; the arguments are the places that the settings name for Shiipp's fields."""
    package, manifest = shiipp.make_split("new-package", new_package), shiipp.make_split("manifest-status", manifest_status)
    return (
        Source("ship24", "tracking", "/webhooks/ship24", ship24.split, b'{"trackings":[]}'),
        Source("shiipp", "new-package", "/webhooks/shiipp/new-package", package, b"[]"),
        Source("shiipp", "manifest-status", "/webhooks/shiipp/manifest-status", manifest, b"[]"),
    )
