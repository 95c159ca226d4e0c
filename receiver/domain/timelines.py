"""Events of trackers and their versions: what stands of each, which versions are superseded, what a batch makes of them. Pure.

An event that comes again in another message with other content is a revision. The version whose message has the later
`generated_at` stands (equal: the larger message id), whichever arrived first; the others stay, superseded.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from receiver.domain.newer import EventTime, is_newer
from receiver.domain.occurrence import read_occurrence
from receiver.domain.rows import EventRow

TrackerKey: TypeAlias = tuple[str, str]
"""A tracker: source and tracker id."""

EventKey: TypeAlias = tuple[str, str, str]
"""An event: source, tracker id and event id."""


class Version(NamedTuple):
    """A version of an event: the digest of its content, and the clock and the id of the latest message that had this content."""

    digest: str
    generated_at: int
    message_id: str

    def is_later(self, other: "Version") -> bool:
        """Tell whether this version stands, and not the other."""
        return self[1:] > other[1:]


def version_of(row: EventRow) -> Version:
    """Return the version that a row of this program holds: it knows the clock of its message."""
    return Version(row.digest, row.generated_at or 0, row.stands_by or row.message_id)


def event_time_of(row: EventRow) -> EventTime:
    """Return what decides whether an event is newer."""
    return EventTime(read_occurrence(row.occurrence), row.order)


@dataclass(slots=True)
class Timelines:
    """What is known of the events of one batch, and what to write.

    `current` is filled by storage for the events that the batch names. `rows` holds the whole timeline, as it stands, of each
    tracker with a revision in the batch, by event id; `contents` are the superseded contents (identity and digest) of those.
    The other fields are what to write: `new` and `revised` rows, rows that are `superseded`, and `refreshed` versions: the same
    content, from a later message.
    """

    current: dict[EventKey, Version] = field(default_factory=dict)
    rows: dict[TrackerKey, dict[str, EventRow]] = field(default_factory=dict)
    contents: set[tuple[EventKey, str]] = field(default_factory=set)
    new: dict[EventKey, EventRow] = field(default_factory=dict)
    revised: dict[EventKey, EventRow] = field(default_factory=dict)
    superseded: list[EventRow] = field(default_factory=list)
    refreshed: dict[EventKey, Version] = field(default_factory=dict)

    def add(self, row: EventRow) -> None:
        """Take an event that was not known."""
        identity = row[:3]
        self.current[identity] = version_of(row)
        self.new[identity] = row
        if row[:2] in self.rows:
            self.rows[row[:2]][row.event_id] = row

    def refresh(self, identity: EventKey, version: Version) -> None:
        """Note that the content that stands came again, in a message that may be later."""
        current = self.current[identity]
        if version.digest == current.digest and version.is_later(current):
            self.current[identity] = self.refreshed[identity] = version

    def supersede(self, row: EventRow) -> None:
        """Take a version that does not stand."""
        self.contents.add((row[:3], row.digest))
        self.superseded.append(row)

    def replace(self, row: EventRow) -> EventRow:
        """Let another version of an event stand; return the one that stood."""
        identity, timeline = row[:3], self.timeline(row[:2])
        old = self._as_it_stands(timeline[row.event_id])
        self.supersede(old)
        self.refreshed.pop(identity, None)
        self.current[identity] = version_of(row)
        timeline[row.event_id] = row
        (self.new if identity in self.new else self.revised)[identity] = row
        return old

    def timeline(self, key: TrackerKey) -> dict[str, EventRow]:
        """Return the events of a tracker as they stand; of one that storage does not know, those of this batch."""
        if key not in self.rows:
            self.rows[key] = {row.event_id: row for row in self.new.values() if row[:2] == key}
        return self.rows[key]

    def newest(self, row: EventRow) -> EventRow:
        """Return the newest event of a tracker; of several that cannot be told apart this one, or the one that came first."""
        newest = row
        for other in sorted(self.timeline(row[:2]).values(), key=lambda other: (other.received_at, other.event_id)):
            if other.event_id != row.event_id and is_newer(event_time_of(other), event_time_of(newest)):
                newest = other
        return newest

    def refresh_rows(self) -> None:
        """Put refreshed versions into the rows that are still to be written; the others are left to an update."""
        for rows in (self.new, self.revised):
            for identity in rows.keys() & self.refreshed.keys():
                rows[identity] = self._as_it_stands(rows[identity])
                del self.refreshed[identity]

    def _as_it_stands(self, row: EventRow) -> EventRow:
        version = self.current[row[:3]]
        return row._replace(generated_at=version.generated_at, stands_by=_other(version.message_id, row.message_id))


def _other(message_id: str, own: str) -> str | None:
    return None if message_id == own else message_id
