"""Pruning by schedule and by order: small slices through the writing process, with calls in between."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

import structlog

from receiver import clock
from receiver.domain.retention import PruneRun, RetentionPeriods
from receiver.domain.rows import AuditRow
from receiver.errors import AlreadyRunning
from receiver.processes.repeating import repeat
from receiver.writer.commands.operators import Audited
from receiver.writer.commands.removal import ClaimPruning, Prune, ReleasePruning
from receiver.writer.executor import Do

FIRST_SECONDS = 5.0
"""From the start of the service to the first round."""

EVERY_SECONDS = 3600.0
AGAIN_SECONDS = 90.0
"""Until the next try where somebody else prunes: longer than the lease of one that was killed."""

DOUBTFUL_SECONDS = 86_400.0
"""If the clock was turned by more than this between two rounds it may be wrong, and what is pruned does not come back."""

_log = structlog.get_logger()


class Pruner:
    """Prunes what is older than `periods`. `do` executes commands.

    Changes that wait for none of the `targets`, or for a stopped one, go with the dead ones.
    Several processes may prune one database. Which of them does is settled there: the one that has the claim.
    """

    def __init__(
        self,
        periods: RetentionPeriods,
        do: Do,
        targets: Sequence[str] | None = None,
        first_seconds: float = FIRST_SECONDS,
        every_seconds: float = EVERY_SECONDS,
        again_seconds: float = AGAIN_SECONDS,
        read_lead: Callable[[], float] = lambda: clock.now().timestamp() - monotonic(),
    ) -> None:
        self.periods = periods
        self._do = do
        self._targets = targets
        self._first_seconds = first_seconds
        self._every_seconds = every_seconds
        self._again_seconds = again_seconds
        self._read_lead = read_lead
        self._lead = read_lead()

    async def run(self) -> None:
        """Prune again and again; a round that fails is logged, and the next one comes in its time."""
        await repeat("pruning_failed", self._try, first_seconds=self._first_seconds, again_seconds=self._every_seconds)

    async def begin(self, periods: RetentionPeriods, entry: AuditRow | None = None) -> str:
        """Become the one that prunes; return the mark to work under. Raises Underway if somebody else is."""
        now = clock.now()
        claim = ClaimPruning(periods.name_run(clock.new_id(now)), clock.to_micros(now))
        await self._do(claim if entry is None else Audited(entry, claim))
        return claim.mark

    async def work(self, mark: str, periods: RetentionPeriods, seconds: float = float("inf")) -> tuple[PruneRun, bool]:
        """Prune under a mark until all is done, or for so many seconds; return what went, and whether there is more."""
        deadline = monotonic() + seconds
        run = PruneRun(periods.edges(clock.to_micros(clock.now())), self._targets)
        while (order := run.next_step()) is not None and monotonic() < deadline:
            done = await self._do(Prune(mark, clock.to_micros(clock.now()), order))
            await asyncio.sleep(run.note(done))
        if order is None:
            await self._do(ReleasePruning(mark))
        self._report(run)
        return run, order is not None

    async def _try(self) -> float:
        """Prune once; return for how long to wait for the next round. A clock that was turned is believed from then on."""
        before, self._lead = self._lead, self._read_lead()
        if abs(self._lead - before) > DOUBTFUL_SECONDS:
            _log.warning("pruning_waits", cause="The clock was turned.", seconds=round(self._lead - before))
            return self._every_seconds
        try:
            await self.work(await self.begin(self.periods), self.periods)
        except AlreadyRunning:
            return self._again_seconds
        return self._every_seconds

    def _report(self, run: PruneRun) -> None:
        removed = {kind: gone.rows for kind, gone in run.removed.items() if gone.rows}
        if removed:
            content_bytes = sum(gone.content_bytes for gone in run.removed.values())
            _log.info("pruned", **removed, content_bytes=content_bytes, slices=run.slices, longest_seconds=run.longest_seconds)
