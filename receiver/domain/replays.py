"""The options and the effect of a replay, as the API and the pages show it. Pure."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from receiver.domain.occurrence import is_implausible, read_occurrence
from receiver.domain.rows import TrackerRow
from receiver.domain.verdicts import Verdict

_FORCE, _UNDO, _RETRY = "force", "undo", "retry"
ACTION = "replay"
"""The action of a replay in the audit log; the detail is that of its options."""


class ReplayOptions(NamedTuple):
    """The options of a replay. `now` is the time of the replay in microseconds.

    `force` also decides messages and events in quarantine, as if they were new, and accepts any time in the future. `retry` also
    decides them, but within the limit. `undo` takes back the events that only `force` accepts. `dry_run` changes nothing.
    `as_read` is the fingerprint of the body that was read, if it may have changed since.
    """

    now: int
    force: bool = False
    dry_run: bool = False
    as_read: str | None = None
    undo: bool = False
    retry: bool = False

    @property
    def detail(self) -> str | None:
        """Return the detail for the audit log."""
        return _UNDO if self.undo else _FORCE if self.force else _RETRY if self.retry else None

    def as_json(self) -> dict[str, bool]:
        """Return the options in the shape of the API."""
        return {"dry_run": self.dry_run, "force": self.force, "undo": self.undo, "retry": self.retry}

    @classmethod
    def from_audit(cls, done_at: int, detail: str | None) -> "ReplayOptions":
        """Return the options that the audit log has for a replay."""
        return cls(done_at, force=detail == _FORCE, undo=detail == _UNDO, retry=detail == _RETRY)


class Item(NamedTuple):
    """One item of the delivery: its verdict before (None: it had none) and after."""

    position: int
    message_id: str | None
    before: Verdict | None
    after: Verdict

    @property
    def changed(self) -> bool:
        """Tell whether the verdict differs from before."""
        return self.before is None or self.before[:2] != self.after[:2]


class TrackerStatus(NamedTuple):
    """The status of a tracker."""

    status: str | None
    status_milestone: str | None
    latest_occurrence: str | None


class Movement(NamedTuple):
    """A tracker whose row changed. `before` is None for a new one.

    `warning` says how long an event in the future blocks all later updates.
    """

    source: str
    tracker_id: str
    before: TrackerStatus | None
    after: TrackerStatus
    warning: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        return {**self._asdict(), "before": self.before and self.before._asdict(), "after": self.after._asdict()}


class Replayed(NamedTuple):
    """The effect of a replay, real or in a dry run. `problem` says why the body cannot be read."""

    delivery_id: str
    changed: bool
    items: tuple[Item, ...]
    trackers: tuple[Movement, ...] = ()
    problem: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        items = [
            {
                "position": item.position,
                "message_id": item.message_id,
                "before": item.before and {"outcome": item.before.outcome, "reason": item.before.reason},
                "after": {"outcome": item.after.outcome, "reason": item.after.reason},
            }
            for item in self.items
        ]
        return {**self._asdict(), "items": items, "trackers": [moved.as_json() for moved in self.trackers]}


def compare_trackers(before: TrackerRow | None, after: TrackerRow, warning: str | None) -> Movement:
    """Return the movement of a tracker."""
    key = after.source, after.tracker_id
    return Movement(*key, None if before is None else _status_of(before), _status_of(after), warning)


def warn_of_future(occurrence: str | None, received: datetime, now: datetime, max_future: timedelta) -> str | None:
    """Return a warning if the time of a tracker's latest event is over the limit as of its receipt, and still to come."""
    if occurrence is None:
        return None
    time = read_occurrence(occurrence)
    if not is_implausible(time, received, max_future) or not is_implausible(time, now, timedelta()):
        return None
    return f"A date in the future blocks all later updates of this tracker until {occurrence}."


def _status_of(tracker: TrackerRow) -> TrackerStatus:
    return TrackerStatus(tracker.status, tracker.status_milestone, tracker.latest_occurrence)
