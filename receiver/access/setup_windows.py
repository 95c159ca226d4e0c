"""Open setup windows. The vendors' test requests come from addresses that are not on their lists."""

from collections.abc import Awaitable, Callable, Mapping

from receiver.processes.repeating import repeat

_PAUSE_SECONDS = 2.0  # another process may open a window


class SetupWindows:
    """The time until which each source may call from any address. `read` gets it from storage, every two seconds."""

    def __init__(self, read: Callable[[], Awaitable[Mapping[str, int]]]) -> None:
        self._read = read
        self._closes_at: dict[str, int] = {}

    async def run(self) -> None:
        """Refresh from storage again and again. While storage does not answer, the last known state applies."""
        await repeat("setup_windows_unknown", self._look, again_seconds=_PAUSE_SECONDS)

    async def _look(self) -> float:
        self._closes_at = dict(await self._read())
        return _PAUSE_SECONDS

    def is_open(self, source: str, at: int) -> bool:
        """Return whether the window of a source is open at a time in microseconds."""
        return self._closes_at.get(source, 0) > at

    def put(self, source: str, closes_at: int) -> None:
        """Apply a change at once, before the next refresh."""
        self._closes_at[source] = closes_at
