"""Open setup windows: times in which a source may send from any address.

Vendors send test requests from addresses that are not on their published lists.
"""

from collections.abc import Awaitable, Callable, Mapping

from receiver.processes.repeating import repeat

_PAUSE_SECONDS = 2.0  # another process may open a window, which storage knows first


class SetupWindows:
    """The end of the setup window of each source. `read` gets it from storage, every two seconds (microseconds since 1970)."""

    def __init__(self, read: Callable[[], Awaitable[Mapping[str, int]]]) -> None:
        self._read = read
        self._closes_at: dict[str, int] = {}

    async def run(self) -> None:
        """Refresh from storage again and again. While storage does not answer, the last known state applies."""
        await repeat("setup_windows_unknown", self._refresh, again_seconds=_PAUSE_SECONDS)

    async def _refresh(self) -> float:
        self._closes_at = dict(await self._read())
        return _PAUSE_SECONDS

    def is_open(self, source: str, at: int) -> bool:
        """Tell whether the window of a source is open at a time in microseconds."""
        return self._closes_at.get(source, 0) > at

    def put(self, source: str, closes_at: int) -> None:
        """Apply a change at once, before the next refresh."""
        self._closes_at[source] = closes_at
