"""Retention periods, and the size of the steps in which old data is pruned. Pure: times are parameters.

Content is pruned by age: bodies and answers, bytes in quarantine, rejected requests, changes that no target took. Ids and
verdicts stay, so that an old message can never take effect again.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

DAY = 86_400_000_000
KINDS = ("bodies", "quarantine", "refused", "dead_changes", "delivered_changes")
"""The kinds of prunable data, in the order of pruning: bodies and answers; bytes in quarantine; rejected and failed requests;
changes that failed for good, or that wait for a target that is stopped or no longer in the settings; records of delivered
changes."""

TARGET_SECONDS = 0.01  # a step with its commit: well below the 50 ms that requests may have to wait
START_SIZE = 100
MIN_SIZE = 20
MAX_SIZE = 500
_PAUSES = 4  # times as long as the step: pruning takes at most a fifth of the writer's time
_MIN_PAUSE_SECONDS = 0.02
_UNIT_BYTES = 4096


class RetentionPeriods(NamedTuple):
    """Retention periods in days; 0 means for ever. Bytes in quarantine are kept as long as bodies."""

    bodies_days: int
    refused_days: int
    changes_days: int
    delivered_days: int

    def cutoffs(self, now: int) -> dict[str, int]:
        """Return the time before which each kind is pruned, in microseconds, without the kinds that are kept for ever."""
        days = (self.bodies_days, self.bodies_days, self.refused_days, self.changes_days, self.delivered_days)
        return {kind: max(0, now - number * DAY) for kind, number in zip(KINDS, days, strict=True) if number}

    def name_run(self, run_id: str) -> str:
        """Return the mark that identifies a run: its id and the number of days for which it keeps bodies."""
        return f"{run_id}.{self.bodies_days}"

    def of_run(self, mark: str) -> "RetentionPeriods":
        """Return the periods of the run with this mark. For an invalid mark, with which nothing is pruned, return these."""
        days = mark.rpartition(".")[2]
        return self._replace(bodies_days=int(days)) if days.isascii() and days.isdigit() and len(days) < 6 else self

    def describe(self) -> str:
        """Return the periods in words, for the audit log."""
        days = (
            *((self.bodies_days, "bodies"), (self.refused_days, "rejected requests")),
            *((self.changes_days, "dead changes"), (self.delivered_days, "records of delivered changes")),
        )
        return ", ".join(f"{words} for ever" if not number else f"{words} {number} days" for number, words in days)


class PruneStep(NamedTuple):
    """One step of pruning: data of this kind before `cutoff` (microseconds), up to `size` units (see `units_of`).

    `running` are the targets that are served: old changes that wait for other targets are pruned too. None: they stay.
    """

    kind: str
    cutoff: int
    size: int
    running: tuple[str, ...] | None = None


class PruneBatch(NamedTuple):
    """The result of one step: removed rows, bytes of content and units; the seconds for which it used the writer.

    `more`: data of this kind before the cutoff is left.
    """

    rows: int
    content_bytes: int
    units: int
    more: bool
    seconds: float = 0.0


class Removed(NamedTuple):
    """The removed rows and bytes of content of one kind."""

    rows: int = 0
    content_bytes: int = 0

    def add(self, rows: int, content_bytes: int) -> "Removed":
        """Return the sum with further rows and bytes."""
        return Removed(self.rows + rows, self.content_bytes + content_bytes)


class PruneRun:
    """One run of pruning: its next step, with a size that depends on the duration of the last one, and its results."""

    def __init__(self, cutoffs: dict[str, int], running: Sequence[str] | None = None) -> None:
        self._running = None if running is None else tuple(running)
        self._left = deque(cutoffs.items())
        self._size = START_SIZE
        self.removed = dict.fromkeys(cutoffs, Removed())
        self.batches = 0
        self.longest_seconds = 0.0

    def next_step(self) -> PruneStep | None:
        """Return the next step; None at the end."""
        return PruneStep(*self._left[0], self._size, self._running) if self._left else None

    def record(self, done: PruneBatch) -> float:
        """Record the result of the step from `next_step`; return the pause before the next one, in seconds."""
        kind = self._left[0][0]
        self.removed[kind] = self.removed[kind].add(done.rows, done.content_bytes)
        self.batches += 1
        self.longest_seconds = max(self.longest_seconds, done.seconds)
        self._size = next_size(done.units, done.seconds)
        if not done.more:
            self._left.popleft()
        return pause_seconds(done.seconds)


def units_of(content_bytes: int) -> int:
    """Return the cost of removing a row: one unit, and one for each 4 KiB page of its content."""
    return 1 + content_bytes // _UNIT_BYTES


def next_size(units: int, seconds: float) -> int:
    """Return the size of the next step, in units, after one that took `seconds` for `units`: at most twice as many."""
    grown = units * min(2.0, TARGET_SECONDS / max(seconds, 1e-6))
    return min(MAX_SIZE, max(MIN_SIZE, int(grown)))


def pause_seconds(seconds: float) -> float:
    """Return the pause after a step, in seconds. The writer is free for deliveries meanwhile."""
    return max(_MIN_PAUSE_SECONDS, _PAUSES * seconds)
