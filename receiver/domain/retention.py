"""How long what is kept, and how much of it goes at once. Pure: the time and what a slice took are parameters.

What goes by age are contents: bodies, answers, what stands in quarantine, calls that were not let in, changes that nobody took.
Identities and verdicts stay: pruning never lets an old message in again.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

DAY = 86_400_000_000
KINDS = ("bodies", "quarantine", "refused", "dead_changes")
"""What is pruned, in this order: bodies and answers; the bytes of what is set apart; refused and failed calls; changes that are
dead, or that wait for a target that is stopped or that the settings no longer name."""

TARGET_SECONDS = 0.01  # a slice, its commit included: well below the 50 ms for which calls may have to wait
START_SIZE = 100
MIN_SIZE = 20
MAX_SIZE = 500
_PAUSES = 4  # times as long as a slice: at most a fifth of the writer's time
_MIN_PAUSE_SECONDS = 0.02
_UNIT_BYTES = 4096


class RetentionPeriods(NamedTuple):
    """For how many days things are kept; 0 is for ever. The bytes in quarantine go with the bodies."""

    bodies_days: int
    refused_days: int
    changes_days: int

    def edges(self, now: int) -> dict[str, int]:
        """Return before which moment each kind goes, in microseconds; what is kept for ever is not named."""
        days = (self.bodies_days, self.bodies_days, self.refused_days, self.changes_days)
        return {kind: max(0, now - number * DAY) for kind, number in zip(KINDS, days, strict=True) if number}

    def name_run(self, run_id: str) -> str:
        """Return the mark of a run: its id, and for how many days it keeps bodies."""
        return f"{run_id}.{self.bodies_days}"

    def of_run(self, mark: str) -> "RetentionPeriods":
        """Return the periods with which a run was begun; these, if the mark is none of ours: nothing is pruned under that."""
        days = mark.rpartition(".")[2]
        return self._replace(bodies_days=int(days)) if days.isascii() and days.isdigit() and len(days) < 6 else self

    def describe(self) -> str:
        """Return the days in words, for the record."""
        days = ((self.bodies_days, "bodies"), (self.refused_days, "refused calls"), (self.changes_days, "dead changes"))
        return ", ".join(f"{words} for ever" if not number else f"{words} {number} days" for number, words in days)


class PruneStep(NamedTuple):
    """Prune one slice: what is of this kind and older than `edge` (microseconds), up to a `size` in units.

    `running` are the targets that are served: of changes that wait for others the old ones go. None: such changes stay.
    """

    kind: str
    edge: int
    size: int
    running: tuple[str, ...] | None = None


class PruneBatch(NamedTuple):
    """What one transaction removed: rows, bytes of content, the units that it took; and for how long it held the writer."""

    rows: int
    content_bytes: int
    units: int
    more: bool
    seconds: float = 0.0


class Removed(NamedTuple):
    """How much of a kind went."""

    rows: int = 0
    content_bytes: int = 0


class PruneRun:
    """One round of pruning: says what to do next, and learns from what was done."""

    def __init__(self, edges: dict[str, int], running: Sequence[str] | None = None) -> None:
        self._running = None if running is None else tuple(running)
        self._left = deque(edges.items())
        self._size = START_SIZE
        self.removed = dict.fromkeys(edges, Removed())
        self.slices = 0
        self.longest_seconds = 0.0

    def next_step(self) -> PruneStep | None:
        """Return the next slice to prune; None: all is done."""
        return PruneStep(*self._left[0], self._size, self._running) if self._left else None

    def note(self, done: PruneBatch) -> float:
        """Take down what the slice of `next_order` has done; return for how many seconds to leave the writer alone."""
        kind = self._left[0][0]
        rows, content_bytes = self.removed[kind]
        self.removed[kind] = Removed(rows + done.rows, content_bytes + done.content_bytes)
        self.slices += 1
        self.longest_seconds = max(self.longest_seconds, done.seconds)
        self._size = next_size(done.units, done.seconds)
        if not done.more:
            self._left.popleft()
        return pause_seconds(done.seconds)


def units_of(content_bytes: int) -> int:
    """Return what it costs to remove a row: one unit for itself, and one for each page of its content."""
    return 1 + content_bytes // _UNIT_BYTES


def next_size(units: int, seconds: float) -> int:
    """Return how many units the next slice may take, after one that took `seconds` for so many: at most twice as many."""
    grown = units * min(2.0, TARGET_SECONDS / max(seconds, 1e-6))
    return min(MAX_SIZE, max(MIN_SIZE, int(grown)))


def pause_seconds(seconds: float) -> float:
    """Return for how long calls have the writer for themselves after a slice."""
    return max(_MIN_PAUSE_SECONDS, _PAUSES * seconds)
