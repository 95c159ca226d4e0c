"""The trackers of one batch: the latest event of each, and the effect of a revision on it. Pure.

The latest event of a tracker is the newest one among the current versions of its events. If a revision makes the latest event
older than another one, the tracker moves back to that one.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from receiver.clock import iso
from receiver.domain.newer import EventTime, compare_times, is_newer
from receiver.domain.occurrence import read_occurrence
from receiver.domain.records import Delivery, Event, Message
from receiver.domain.rows import ChangeRow, EventRow, TrackerRow
from receiver.domain.timelines import Timelines, Version
from receiver.domain.tracker_state import advance, make_change_row, make_event_row, makes_same_change, with_change
from receiver.domain.verdicts import APPLIED, DUPLICATE, OLDER, REVISED, SUPERSEDED, TIE, Verdict

_VERSION = TrackerRow._fields.index("version")
_CHANGE = ("change_id", "move", "old_status", "old_status_milestone", "shipment_milestone")


class PendingMessage(NamedTuple):
    """A message to decide, with its id and the key of its tracker.

    `clock` decides between versions and snapshots: the time when the sender built the message, or that of its arrival, in
    microseconds. `is_repaired`: it replaces an earlier copy.
    """

    delivery: Delivery
    message: Message
    message_id: str
    key: tuple[str, str]
    clock: int
    is_repaired: bool = False

    def is_repair_of(self, event: Event) -> bool:
        """Tell whether an event takes the place of the one in the earlier copy: the first with its id does."""
        return self.is_repaired and event is next(each for each in self.message.events if each.event_id == event.event_id)


class ShipmentChange(NamedTuple):
    """A message that changed the sender's own milestone, with its tracker before (None: there was none) and after it."""

    item: PendingMessage
    before: TrackerRow | None
    after: TrackerRow


@dataclass(slots=True, kw_only=True)
class BatchTrackers:
    """The trackers of one batch, by source and tracker id, with their events.

    Storage fills `trackers` and `timelines`, and every event adds to them. `changed` are the keys of the trackers to write,
    `changes` the events that became the latest one of a tracker, `change_rows` the changes that need a row of their own (see
    `ChangeRow`), `shipment_changes` the messages that changed a sender's own milestone. Those of tests are not among `changes`
    and `shipment_changes`, which are for targets, unless they are to be handed on.
    """

    trackers: dict[tuple[str, str], TrackerRow] = field(default_factory=dict)
    timelines: Timelines = field(default_factory=Timelines)
    changed: set[tuple[str, str]] = field(default_factory=set)
    changes: list[EventRow] = field(default_factory=list)
    change_rows: list[ChangeRow] = field(default_factory=list)
    shipment_changes: list[ShipmentChange] = field(default_factory=list)

    def put_tracker(self, key: tuple[str, str], before: TrackerRow | None, after: TrackerRow) -> None:
        """Replace the row of a tracker, or add it. The first replacement in a batch increments its version."""
        if before is not None and key not in self.changed:
            after = TrackerRow._make((*after[:_VERSION], before.version + 1, *after[_VERSION + 1 :]))
        self.changed.add(key)
        self.trackers[key] = after

    def note_shipment_change(self, item: PendingMessage, before: TrackerRow | None) -> None:
        """Record a decided message if it changed the sender's own milestone of its tracker."""
        after = None if item.delivery.is_withheld else self.trackers.get(item.key)
        if after is not None and after.shipment_moves != (0 if before is None else before.shipment_moves):
            self.shipment_changes.append(ShipmentChange(item, before, after))

    def note_again(self, source: str, message: Message, message_id: str, clock: int) -> None:
        """Record that a sender without a clock sent the current details of a tracker again: what it sent between is older.

        Where each change has an id of its own, a copy is only a repetition. A package has one id, an anonymous message none.
        """
        tracker = self.trackers.get((source, message.tracker_id or ""))
        is_statement = message.generated_at is None and (message.is_anonymous or message.subject == "package")
        if not is_statement or tracker is None or tracker.snapshot_message_id != message_id:
            return
        if clock > tracker.snapshot_generated_at >= 0:
            self.put_tracker((source, tracker.tracker_id), tracker, tracker._replace(snapshot_generated_at=clock))

    def _apply(self, item: PendingMessage, event: Event, moment: EventTime, cause: tuple[str, ...]) -> Verdict:
        """Decide an event with a valid time. Its tracker has a row. `cause` is a part of the id of its change."""
        current = self.timelines.current.get((*item.key, event.event_id))
        if current is not None:
            return self._revise(item, event, moment, current, cause)
        before = self.trackers[item.key]
        verdict = _compare(moment, _read_last_time(before) if item.message.is_anonymous else _read_latest_time(before))
        row = _make_row(item, event, moment, verdict, before.latest_event_id)
        if verdict is APPLIED:
            row = with_change(row, before, *cause)
            self._move_to(item, row)
        self.timelines.add(row)
        return verdict

    def _revise(self, item: PendingMessage, event: Event, moment: EventTime, current: Version, cause: tuple[str, ...]) -> Verdict:
        """Decide another version of a known event."""
        before, timelines = self.trackers[item.key], self.timelines
        is_known = ((*item.key, event.event_id), event.digest) in timelines.contents
        version = Version(event.digest, item.clock, item.message_id)
        if not version.is_later(current) and not (version.is_of_same_message(current) and item.is_repair_of(event)):
            if is_known:
                return DUPLICATE
            timelines.supersede(_make_row(item, event, moment, SUPERSEDED, before.latest_event_id))
            return SUPERSEDED
        cause = (*cause, item.message_id) if is_known else cause
        if before.latest_event_id == event.event_id:
            return self._revise_latest(item, _make_row(item, event, moment, REVISED, None), cause)
        verdict = _compare(moment, _read_latest_time(before))
        row = _make_row(item, event, moment, verdict, before.latest_event_id)
        if verdict is APPLIED:
            row = with_change(row._replace(reason=REVISED.reason), before, *cause)
        self.keep_change_of(timelines.replace(row))
        if verdict is not APPLIED:
            return verdict
        self._move_to(item, row)
        return REVISED

    def _revise_latest(self, item: PendingMessage, row: EventRow, cause: tuple[str, ...]) -> Verdict:
        """Replace a tracker's latest event by another version, then move the tracker to its newest event.

        A version that differs only in fields that no change contains makes no change.
        """
        before, timelines = self.trackers[item.key], self.timelines
        old = timelines.timeline(item.key)[row.event_id]
        newest = timelines.newest(row)
        if newest is not row:
            row = row._replace(outcome=OLDER.outcome, reason=OLDER.reason, against=newest.event_id)
            self.keep_change_of(timelines.replace(row))
            back = with_change(newest, before, row.event_id, row.digest, item.message_id)
            back = back._replace(received_at=item.delivery.received_at)
            self.change_rows.append(make_change_row(back, item.message_id))
            self._move_to(item, back)
            return OLDER
        if makes_same_change(old, row):
            row = row._replace(**{name: getattr(old, name) for name in _CHANGE})
            self.keep_change_of(timelines.replace(row))
            self.put_tracker(item.key, before, advance(before, row, item.delivery.received_at, before.moves))
            return REVISED
        row = with_change(row, before, *cause)
        self.keep_change_of(timelines.replace(row))
        self._move_to(item, row)
        return REVISED

    def _move_to(self, item: PendingMessage, row: EventRow) -> None:
        """Move the tracker to an event, which is a change."""
        before = self.trackers[item.key]
        self.put_tracker(item.key, before, advance(before, row, row.received_at, row.move or 0))
        if not item.delivery.is_withheld:
            self.changes.append(row)

    def keep_change_of(self, old: EventRow, cause: str | None = None) -> None:
        """Keep the change of a version that is replaced or taken back, because it may still wait for a target."""
        if old.change_id is not None:
            self.change_rows.append(make_change_row(old, cause))


def _make_row(item: PendingMessage, event: Event, moment: EventTime, verdict: Verdict, against: str | None) -> EventRow:
    return make_event_row(item.key, item.delivery, item.message_id, event, moment, verdict, against, item.clock)


def _read_latest_time(tracker: TrackerRow) -> EventTime | None:
    text = tracker.latest_occurrence
    return None if text is None else EventTime(read_occurrence(text), tracker.latest_order)


def _read_last_time(tracker: TrackerRow) -> EventTime | None:
    """Return the time of the latest event, or of the last arrival of its anonymous message: the details have that time."""
    latest, last = _read_latest_time(tracker), tracker.snapshot_generated_at
    if latest is None or tracker.snapshot_message_id != tracker.latest_message_id or last <= (latest.order or 0):
        return latest
    is_date = latest.occurrence.wall is None  # otherwise it is the time of arrival
    return EventTime(latest.occurrence if is_date else read_occurrence(iso(last)), last)


def _compare(candidate: EventTime, latest: EventTime | None) -> Verdict:
    """Return APPLIED, OLDER or TIE for an event of this time."""
    if latest is None or is_newer(candidate, latest):
        return APPLIED
    return OLDER if compare_times(candidate, latest) < 0 else TIE
