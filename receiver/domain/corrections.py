"""The versions of a corrected event, and the reason why the current one counts. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from receiver.clock import iso


class EventVersion(NamedTuple):
    """A version of an event, with the latest message that has its content. Times are microseconds.

    `generated_at` is the time by which versions are compared: when the sender built the message or, if it sends no such times,
    when the message arrived. It is 0 if it is not known.
    """

    message_id: str
    generated_at: int
    received_at: int
    occurrence: str
    status: str | None
    superseded: bool

    @property
    def rank(self) -> tuple[int, str]:
        """Return what decides between versions: the one with the largest rank counts."""
        return self.generated_at, self.message_id

    def as_json(self) -> dict[str, Any]:
        """Return the version in the shape of the API."""
        times = {"generated_at": iso(self.generated_at) if self.generated_at else None, "received_at": iso(self.received_at)}
        return {**self._asdict(), **times}


def sort_versions(versions: Sequence[EventVersion]) -> list[EventVersion]:
    """Return the versions of one event, the current one first, then the latest."""
    return sorted(versions, key=lambda version: (not version.superseded, version.rank), reverse=True)


def explain_correction(versions: Sequence[EventVersion]) -> str | None:
    """Return why the current version counts, or None if there is no other one. `versions` are sorted."""
    if len(versions) < 2:
        return None
    current, other = versions[:2]
    if current.message_id == other.message_id:
        which = "that of its corrected copy counts, or else the first"
        return f"Corrected. Message {current.message_id} has more than one version: {which}."
    begin = f"Corrected. The version of message {current.message_id} counts"
    if current.generated_at > other.generated_at:
        against = iso(other.generated_at) if other.generated_at else "an unknown time"
        times = f"it is of {iso(current.generated_at)}, the one of message {other.message_id} is of {against}"
        return f"{begin} because it is newer: {times}."
    time = f"both are of {iso(current.generated_at)}" if current.generated_at else "neither says when it was generated"
    return f"{begin} because its message ID is larger than {other.message_id}: {time}."
