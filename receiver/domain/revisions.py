"""The trackers of one batch: which event is the latest one of each, and how a revision changes that. Pure.

The latest event of a tracker is the newest one among the current versions of its events. If a revision takes the latest event
back, the tracker moves to the newest remaining event.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from receiver.domain.newer import EventTime, compare_times, is_newer
from receiver.domain.occurrence import read_occurrence
from receiver.domain.records import Delivery, Event, Message
from receiver.domain.rows import ChangeRow, EventRow, TrackerRow
from receiver.domain.timelines import Timelines, Version
from receiver.domain.tracker_state import advance, make_change_row, make_event_row, makes_same_change, with_change
from receiver.domain.verdicts import APPLIED, DUPLICATE, OLDER, REVISED, SUPERSEDED, TIE, Verdict

_CHANGE = ("change_id", "move", "old_status", "old_status_milestone", "shipment_milestone")


class PendingMessage(NamedTuple):
    """A message that is being decided, with its id, the key of its tracker, and the clock that decides between versions.

    `is_repaired`: it replaces an earlier copy.
    """

    delivery: Delivery
    message: Message
    message_id: str
    key: tuple[str, str]
    clock: int
    is_repaired: bool = False


class ViewChange(NamedTuple):
    """A message that changed the sender's own milestone, with its tracker before (None: it was unknown) and after it."""

    item: PendingMessage
    before: TrackerRow | None
    after: TrackerRow


@dataclass(slots=True, kw_only=True)
class BatchTrackers:
    """The trackers of one batch, by source and tracker id, with their events.

    Storage fills `trackers` and `timelines`, and every event adds to them. `moved` are the keys of the trackers that changed,
    `changes` the events that became the latest one of a tracker, `kept_changes` the changes that are no longer in the rows of
    their events, `view_changes` the messages that changed a sender's own milestone.
    """

    trackers: dict[tuple[str, str], TrackerRow] = field(default_factory=dict)
    timelines: Timelines = field(default_factory=Timelines)
    moved: set[tuple[str, str]] = field(default_factory=set)
    changes: list[EventRow] = field(default_factory=list)
    kept_changes: list[ChangeRow] = field(default_factory=list)
    view_changes: list[ViewChange] = field(default_factory=list)

    def move(self, key: tuple[str, str], before: TrackerRow | None, after: TrackerRow) -> None:
        """Set a tracker's new row."""
        if before is not None and key not in self.moved:
            after = after._replace(version=before.version + 1)
        self.moved.add(key)
        self.trackers[key] = after

    def note_view(self, item: PendingMessage, before: TrackerRow | None) -> None:
        """Note a message, once it is decided, if it changed the sender's own milestone of its tracker."""
        after = self.trackers.get(item.key)
        if after is not None and after.shipment_moves != (0 if before is None else before.shipment_moves):
            self.view_changes.append(ViewChange(item, before, after))

    def _apply(self, item: PendingMessage, event: Event, moment: EventTime) -> Verdict:
        """Decide an event of a known tracker, whose time can be read."""
        current = self.timelines.current.get((*item.key, event.event_id))
        if current is not None:
            return self._revise(item, event, moment, current)
        before = self.trackers[item.key]
        verdict = _weigh(moment, before)
        row = _make_row(item, event, moment, verdict, before.latest_event_id)
        if verdict is APPLIED:
            row = with_change(row, before)
            self._move_to(item, row)
        self.timelines.add(row)
        return verdict

    def _revise(self, item: PendingMessage, event: Event, moment: EventTime, current: Version) -> Verdict:
        """Decide another version of a known event."""
        before, timelines = self.trackers[item.key], self.timelines
        is_known = ((*item.key, event.event_id), event.digest) in timelines.contents
        if not Version(event.digest, item.clock, item.message_id).is_later(current):
            if is_known:
                return DUPLICATE
            timelines.supersede(_make_row(item, event, moment, SUPERSEDED, before.latest_event_id))
            return SUPERSEDED
        cause = (item.message_id,) if is_known else ()
        if before.latest_event_id == event.event_id:
            return self._revise_latest(item, _make_row(item, event, moment, REVISED, None), cause)
        verdict = _weigh(moment, before)
        row = _make_row(item, event, moment, verdict, before.latest_event_id)
        if verdict is APPLIED:
            row = with_change(row._replace(reason=REVISED.reason), before, *cause)
        self._keep_change_of(timelines.replace(row))
        if verdict is not APPLIED:
            return verdict
        self._move_to(item, row)
        return REVISED

    def _revise_latest(self, item: PendingMessage, row: EventRow, cause: tuple[str, ...]) -> Verdict:
        """Replace a tracker's latest event by another version, and move the tracker to the event that is newest then.

        A version that differs only in fields that no change contains makes no change.
        """
        before, timelines = self.trackers[item.key], self.timelines
        old = timelines.timeline(item.key)[row.event_id]
        newest = timelines.newest(row)
        if newest is not row:
            row = row._replace(outcome=OLDER.outcome, reason=OLDER.reason, against=newest.event_id)
            self._keep_change_of(timelines.replace(row))
            back = with_change(newest, before, row.event_id, row.digest, item.message_id)
            back = back._replace(received_at=item.delivery.received_at)
            self.kept_changes.append(make_change_row(back, item.message_id))
            self._move_to(item, back)
            return OLDER
        if makes_same_change(old, row):
            row = row._replace(**{name: getattr(old, name) for name in _CHANGE})
            self._keep_change_of(timelines.replace(row))
            self.move(item.key, before, advance(before, row, item.delivery.received_at, before.moves))
            return REVISED
        row = with_change(row, before, *cause)
        self._keep_change_of(timelines.replace(row))
        self._move_to(item, row)
        return REVISED

    def _move_to(self, item: PendingMessage, row: EventRow) -> None:
        """Move the tracker to an event, which is a change."""
        before = self.trackers[item.key]
        self.move(item.key, before, advance(before, row, row.received_at, row.move or 0))
        self.changes.append(row)

    def _keep_change_of(self, old: EventRow) -> None:
        """Keep the change of a replaced version: it may still wait for a target."""
        if old.change_id is not None:
            self.kept_changes.append(make_change_row(old))


def _make_row(item: PendingMessage, event: Event, moment: EventTime, verdict: Verdict, against: str | None) -> EventRow:
    return make_event_row(item.key, item.delivery, item.message_id, event, moment, verdict, against, item.clock)


def _weigh(candidate: EventTime, tracker: TrackerRow) -> Verdict:
    text = tracker.latest_occurrence
    latest = None if text is None else EventTime(read_occurrence(text), tracker.latest_order)
    if latest is None or is_newer(candidate, latest):
        return APPLIED
    return OLDER if compare_times(candidate, latest) < 0 else TIE
