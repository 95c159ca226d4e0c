"""POSTs to unknown paths, counted by path, so that a wrong webhook URL is seen.

Anybody can send them, so what is kept is bounded: paths that resemble one of ours have a name, at most MAX_NAMES between two
records and MAX_UNKNOWN_PATHS in the database, cut and without secrets. All others are counted together.
"""

from receiver import clock
from receiver.clock import to_micros
from receiver.processes.repeating import repeat
from receiver.writer.commands.unknown_paths import NoteUnknownPaths, PathUse
from receiver.writer.executor import Do

MAX_NAMES = 20
_PAUSE_SECONDS = 5.0
_OTHERS = ("", "")


class UnknownPaths:
    """Collects POSTs to unknown paths and records them every few seconds. `do` executes a command."""

    def __init__(self, do: Do) -> None:
        self._do = do
        self._uses: dict[tuple[str, str], PathUse] = {}

    def note(self, path: str, nearest: str) -> None:
        """Count a POST. `nearest` is the right path that it resembles; if that is empty, the path is not kept."""
        key = (path, nearest) if nearest else _OTHERS
        if key not in self._uses and len(self._uses) >= MAX_NAMES:
            key = _OTHERS
        before = self._uses.get(key, PathUse(*key, 0, 0))
        self._uses[key] = before._replace(requests=before.requests + 1, last_at=to_micros(clock.now()))

    async def run(self) -> None:
        """Record the counts, until cancelled."""
        await repeat("unknown_paths_not_recorded", self._step, again_seconds=_PAUSE_SECONDS)

    async def record(self) -> None:
        """Record the counts once. What cannot be written is lost: these counts are no more than a hint."""
        if self._uses:
            uses, self._uses = self._uses, {}
            await self._do(NoteUnknownPaths(tuple(uses.values())))

    async def _step(self) -> float:
        await self.record()
        return _PAUSE_SECONDS
