"""Which setup windows are open: the vendors' test calls come from addresses that are not on their lists."""

from collections.abc import Awaitable, Callable, Mapping

from receiver.web.repeating import repeat

_PAUSE_SECONDS = 2.0  # how often another process's setup windows are looked for


class SetupWindows:
    """Until when each source may call from any address; filled from storage every few seconds, closes by itself."""

    def __init__(self) -> None:
        self._closes_at: dict[str, int] = {}

    def replace(self, closes_at: Mapping[str, int]) -> None:
        """Take what storage says now."""
        self._closes_at = dict(closes_at)

    async def follow(self, read: Callable[[], Awaitable[Mapping[str, int]]]) -> None:
        """Ask `read` again and again what storage says; while it fails, what is known goes on to count."""

        async def look() -> float:
            self.replace(await read())
            return _PAUSE_SECONDS

        await repeat("setup_windows_unknown", look, again_seconds=_PAUSE_SECONDS)

    def is_open(self, source: str, at: int) -> bool:
        """Tell whether the window of a source is open at a moment, in microseconds."""
        return self._closes_at.get(source, 0) > at

    def put(self, source: str, closes_at: int) -> None:
        """Take one change at once, before storage is asked again."""
        self._closes_at[source] = closes_at
