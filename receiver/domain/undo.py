"""The timelines of trackers without events that only a forced replay accepts, and the events that are newest then. Pure."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from receiver.domain.revisions import BatchTrackers
from receiver.domain.rows import EventRow, TrackerRow
from receiver.domain.timelines import TrackerKey, version_of
from receiver.domain.tracker_state import advance, make_change_row, stop_at_no_event, with_change
from receiver.domain.verdicts import OLDER

_CAUSE = "undo"


class TakenBack(NamedTuple):
    """Rows to delete: current versions of events, and superseded ones, which are taken back or are the current ones again."""

    current: list[EventRow]
    superseded: list[EventRow]


def take_back(
    batch: BatchTrackers, key: TrackerKey, forced: Collection[EventRow], superseded: Sequence[EventRow], at: int
) -> TakenBack:
    """Take versions of events out of a tracker's timeline, and move the tracker if it stands at one of them.

    `superseded` are all superseded versions of these events. The latest remaining version of an event is the current one again.
    The rows to insert and to change are in the batch; the ones to delete are returned.
    """
    timeline = batch.timelines.timeline(key)
    gone = TakenBack([], [row for row in superseded if row in forced])
    for row in forced:
        if timeline.get(row.event_id) != row:
            continue
        batch.keep_change_of(row, row.message_id)
        versions = [other for other in superseded if other.event_id == row.event_id and other not in forced]
        if not versions:
            del timeline[row.event_id]
            gone.current.append(row)
            continue
        standing = max(versions, key=lambda other: version_of(other)[1:])
        gone.superseded.append(standing)
        if standing.reason == "superseded":
            standing = standing._replace(outcome=OLDER.outcome, reason=OLDER.reason)
        timeline[row.event_id] = batch.timelines.revised[row[:3]] = standing
    _move_to_newest(batch, key, next(iter(forced)), at)
    return gone


def _move_to_newest(batch: BatchTrackers, key: TrackerKey, cause: EventRow, at: int) -> None:
    """Move a tracker to the newest event of its timeline, unless it stands there."""
    before, timeline = batch.trackers[key], batch.timelines.timeline(key)
    standing = timeline.get(before.latest_event_id or "")
    if standing is not None and (standing.message_id, standing.digest) != (before.latest_message_id, before.latest_digest):
        standing = None
    if not timeline:
        if before.latest_event_id is not None:
            _move_to_no_event(batch, before, cause, at)
        return
    first = standing or min(timeline.values(), key=lambda row: (row.received_at, row.event_id))
    newest = batch.timelines.newest(first)
    if newest is standing:
        return
    back = with_change(newest, before, _CAUSE, str(at))._replace(received_at=at)
    batch.change_rows.append(make_change_row(back, cause.message_id))
    batch.put_tracker(key, before, advance(before, back, at, back.move or 0))
    if before.test_run is None:
        batch.changes.append(back)


def _move_to_no_event(batch: BatchTrackers, before: TrackerRow, cause: EventRow, at: int) -> None:
    """Move a tracker of which no event remains: as before its first event."""
    names = ("status", "status_code", "status_category", "status_milestone", "location", "courier_code", "order")
    nothing: dict[str, Any] = dict.fromkeys(names)
    blank = cause._replace(**nothing, event_id="", occurrence="", digest="")
    back = with_change(blank, before, _CAUSE, str(at))._replace(received_at=at)
    batch.change_rows.append(make_change_row(back, cause.message_id))
    batch.put_tracker((before.source, before.tracker_id), before, stop_at_no_event(before, at))
    if before.test_run is None:
        batch.changes.append(back)
