"""Which setup windows are open: the vendors' test calls come from addresses that are not on their lists."""

from collections.abc import Awaitable, Callable, Mapping

from receiver.processes.repeating import repeat

_PAUSE_SECONDS = 2.0  # how often another process's setup windows are looked for


class SetupWindows:
    """Until when each source may call from any address; `read` asks storage, every few seconds."""

    def __init__(self, read: Callable[[], Awaitable[Mapping[str, int]]]) -> None:
        self._read = read
        self._closes_at: dict[str, int] = {}

    async def run(self) -> None:
        """Ask again and again what storage says; while it does not answer, what is known goes on to count."""
        await repeat("setup_windows_unknown", self._look, again_seconds=_PAUSE_SECONDS)

    async def _look(self) -> float:
        self._closes_at = dict(await self._read())
        return _PAUSE_SECONDS

    def is_open(self, source: str, at: int) -> bool:
        """Tell whether the window of a source is open at a moment, in microseconds."""
        return self._closes_at.get(source, 0) > at

    def put(self, source: str, closes_at: int) -> None:
        """Take one change at once, before storage is asked again."""
        self._closes_at[source] = closes_at
