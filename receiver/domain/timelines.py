"""The events of trackers and their versions: the current one of each, and the superseded ones. Pure.

An event that arrives again in another message with other content is a revision. The current version is the one whose message has
the later `generated_at` (if equal: the larger message id), whichever arrived first. The others are superseded and stay stored. An
event of a repaired copy of a message takes the place of the earlier copy's, whenever the copies were built.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from receiver.domain.newer import EventTime, is_newer
from receiver.domain.occurrence import read_occurrence
from receiver.domain.rows import EventRow

TrackerKey: TypeAlias = tuple[str, str]
"""The key of a tracker: source and tracker id."""

EventKey: TypeAlias = tuple[str, str, str]
"""The key of an event: source, tracker id and event id."""


class Version(NamedTuple):
    """A version of an event: the digest of its content, and the clock and id of the latest message with this content."""

    digest: str
    generated_at: int
    message_id: str

    def is_later(self, other: "Version") -> bool:
        """Tell whether this version supersedes the other one."""
        return self[1:] > other[1:]

    def is_of_same_message(self, other: "Version") -> bool:
        """Tell whether both are of one message: of two copies of it, say."""
        return self.message_id == other.message_id


def version_of(row: EventRow) -> Version:
    """Return the version in a row. Rows of version 0.1 have no `generated_at`; it counts as 0."""
    return Version(row.digest, row.generated_at or 0, row.stands_by or row.message_id)


def event_time_of(row: EventRow) -> EventTime:
    """Return the time of an event and its sequence number, for `newer`."""
    return EventTime(read_occurrence(row.occurrence), row.order)


@dataclass(slots=True)
class Timelines:
    """The known events of one batch, and the rows to write.

    Storage fills the first three. `current` has the events that the batch names. `rows` has the whole current timeline, by event
    id, of each tracker with a revision in the batch. `contents` has the superseded contents (key and digest) of its events.
    Storage writes the others: `new`, `revised` and `superseded` rows, and `refreshed` versions, which are the same content from a
    later message.
    """

    current: dict[EventKey, Version] = field(default_factory=dict)
    rows: dict[TrackerKey, dict[str, EventRow]] = field(default_factory=dict)
    contents: set[tuple[EventKey, str]] = field(default_factory=set)
    new: dict[EventKey, EventRow] = field(default_factory=dict)
    revised: dict[EventKey, EventRow] = field(default_factory=dict)
    superseded: list[EventRow] = field(default_factory=list)
    refreshed: dict[EventKey, Version] = field(default_factory=dict)

    def add(self, row: EventRow) -> None:
        """Add a new event."""
        identity = row[:3]
        self.current[identity] = version_of(row)
        self.new[identity] = row
        if row[:2] in self.rows:
            self.rows[row[:2]][row.event_id] = row

    def refresh(self, identity: EventKey, version: Version) -> None:
        """Record that the current content arrived again, in a message that may be later."""
        if version.is_later(self.current[identity]):
            self.current[identity] = self.refreshed[identity] = version

    def supersede(self, row: EventRow) -> None:
        """Add a superseded version."""
        self.contents.add((row[:3], row.digest))
        self.superseded.append(row)

    def replace(self, row: EventRow) -> EventRow:
        """Make a version of an event the current one; return the superseded one."""
        identity, timeline = row[:3], self.timeline(row[:2])
        old = self._with_current_version(timeline[row.event_id])
        self.supersede(old)
        self.refreshed.pop(identity, None)
        self.current[identity] = version_of(row)
        timeline[row.event_id] = row
        (self.new if identity in self.new else self.revised)[identity] = row
        return old

    def timeline(self, key: TrackerKey) -> dict[str, EventRow]:
        """Return the current events of a tracker; for a tracker that is not stored yet, those of this batch."""
        if key not in self.rows:
            self.rows[key] = {row.event_id: row for row in self.new.values() if row[:2] == key}
        return self.rows[key]

    def newest(self, row: EventRow) -> EventRow:
        """Return the newest event of a tracker. In a tie it is this one, or else the one that arrived first."""
        newest = row
        for other in sorted(self.timeline(row[:2]).values(), key=lambda other: (other.received_at, other.event_id)):
            if other.event_id != row.event_id and is_newer(event_time_of(other), event_time_of(newest)):
                newest = other
        return newest

    def refresh_rows(self) -> None:
        """Put refreshed versions into the rows of this batch. Those that remain in `refreshed` need an update."""
        for rows in (self.new, self.revised):
            for identity in rows.keys() & self.refreshed.keys():
                rows[identity] = self._with_current_version(rows[identity])
                del self.refreshed[identity]

    def _with_current_version(self, row: EventRow) -> EventRow:
        version = self.current[row[:3]]
        stands_by = None if version.message_id == row.message_id else version.message_id
        return row._replace(generated_at=version.generated_at, stands_by=stands_by)
