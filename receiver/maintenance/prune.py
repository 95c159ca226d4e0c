"""Pruning of old content in small batches, with pauses in which deliveries are stored."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import NamedTuple

import structlog

from receiver import clock
from receiver.domain.retention import PruneRun, Removed, RetentionPeriods
from receiver.errors import AlreadyRunning, ReceiverError
from receiver.maintenance.execution import MakeEntry
from receiver.processes.repeating import repeat
from receiver.writer.commands.operators import Audited
from receiver.writer.commands.removal import ClaimPruning, Prune, ReleasePruning, RenewPruning
from receiver.writer.executor import Do

FIRST_SECONDS = 5.0
"""The time between the start of the service and the first run."""

EVERY_SECONDS = 3600.0
AGAIN_SECONDS = 90.0
"""The time until the next attempt while another process prunes. It is longer than the lease of a process that was killed."""

DOUBTFUL_SECONDS = 86_400.0
"""A jump of the clock by more than this between two runs postpones the run: pruned content cannot be restored."""

_log = structlog.get_logger()


class PruneResult(NamedTuple):
    """The rows and bytes that one or several batches removed, by kind. With `more`, the run of this `mark` can continue."""

    mark: str
    removed: dict[str, Removed]
    more: bool
    batches: int
    longest_seconds: float

    def log(self) -> None:
        """Log the numbers of removed rows, if any were removed."""
        removed = {kind: amount.rows for kind, amount in self.removed.items() if amount.rows}
        if removed:
            content_bytes = sum(amount.content_bytes for amount in self.removed.values())
            numbers = {"content_bytes": content_bytes, "batches": self.batches, "longest_seconds": self.longest_seconds}
            _log.info("data_pruned", **removed, **numbers)


class Pruner:
    """Prunes content that is older than `periods`. `do` executes a command.

    Dead changes include changes that wait for a stopped target, or for one that is not among `targets`; None: they do not.
    Several processes may share a database; a claim decides which one prunes. With `pauses` there is time for deliveries between
    two batches.
    """

    def __init__(self, periods: RetentionPeriods, do: Do, targets: Sequence[str] | None = None, *, pauses: bool = True) -> None:
        self._periods = periods
        self._do = do
        self._targets = targets
        self._pauses = pauses

    async def prune(
        self,
        make_entry: MakeEntry | None = None,
        bodies_days: int | None = None,
        mark: str | None = None,
        seconds: float = float("inf"),
        advance: Callable[[int], object] = lambda _rows: None,
    ) -> PruneResult:
        """Begin a run, or continue the one with this `mark`, until nothing is left, but at most for `seconds`.

        `bodies_days` replaces the period of the settings or of the run. With `make_entry`, the start of a run and a change of its
        period are audited. `advance` gets the number of rows of each batch. Raises AlreadyRunning if another process prunes.
        """
        before = self._periods if mark is None else self._periods.of_run(mark)
        periods = before if bodies_days is None else before._replace(bodies_days=bodies_days)
        now = clock.now()
        if mark is None:
            mark = periods.name_run(clock.new_id(now))
            await self._do_audited(make_entry, now, periods, ClaimPruning(mark, clock.to_micros(now)))
        elif periods != before:
            await self._do_audited(make_entry, now, periods, RenewPruning(mark, clock.to_micros(now)))
        run = PruneRun(periods.cutoffs(clock.to_micros(now)), self._targets)
        try:
            more = await self._work(run, mark, monotonic() + seconds, advance)
        except BaseException:
            with suppress(ReceiverError):
                await self._do(ReleasePruning(mark))
            raise
        return PruneResult(mark, run.removed, more, run.batches, run.longest_seconds)

    async def _do_audited(
        self, make_entry: MakeEntry | None, now: datetime, periods: RetentionPeriods, command: ClaimPruning | RenewPruning
    ) -> None:
        if make_entry is None:
            await self._do(command)
        else:
            await self._do(Audited(make_entry(now, "prune", "database", periods.describe()), command))

    async def _work(self, run: PruneRun, mark: str, deadline: float, advance: Callable[[int], object]) -> bool:
        """Prune batch by batch; return whether more is left."""
        while (step := run.next_step()) is not None and monotonic() < deadline:
            batch = await self._do(Prune(mark, clock.to_micros(clock.now()), step))
            pause_seconds = run.record(batch)
            advance(batch.rows)
            await asyncio.sleep(pause_seconds if self._pauses else 0)
        if step is None:
            await self._do(ReleasePruning(mark))
        return step is not None


class PruneSchedule:
    """Prunes every hour. `read_lead` returns the wall clock minus the monotonic clock, in seconds."""

    def __init__(
        self,
        pruner: Pruner,
        first_seconds: float = FIRST_SECONDS,
        every_seconds: float = EVERY_SECONDS,
        again_seconds: float = AGAIN_SECONDS,
        read_lead: Callable[[], float] = lambda: clock.now().timestamp() - monotonic(),
    ) -> None:
        self._pruner = pruner
        self._first_seconds = first_seconds
        self._every_seconds = every_seconds
        self._again_seconds = again_seconds
        self._read_lead = read_lead
        self._lead = read_lead()

    async def run(self) -> None:
        """Prune again and again. A run that fails is logged; the next one begins on schedule."""
        await repeat("pruning_failed", self._try, first_seconds=self._first_seconds, again_seconds=self._every_seconds)

    async def _try(self) -> float:
        """Prune once, unless the clock was just changed; return the seconds until the next run."""
        before, self._lead = self._lead, self._read_lead()
        if abs(self._lead - before) > DOUBTFUL_SECONDS:
            _log.warning("pruning_postponed", cause="The clock was changed.", seconds=round(self._lead - before))
            return self._every_seconds
        try:
            (await self._pruner.prune()).log()
        except AlreadyRunning:
            return self._again_seconds
        return self._every_seconds
