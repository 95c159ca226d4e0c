"""One file per sender; `SOURCES` says at which paths each of them calls and who reads its bodies."""

from collections.abc import Callable
from dataclasses import dataclass

from receiver.records import Message
from receiver.sources import ship24


@dataclass(frozen=True, slots=True)
class Source:
    """One path that one sender posts to.

    `split` turns a body into messages in body order; it raises InvalidJson or UnexpectedShape, never because of one item.
    """

    name: str
    kind: str
    path: str
    split: Callable[[bytes], list[Message]]


SOURCES = (Source("ship24", "tracking", "/webhooks/ship24", ship24.split),)
