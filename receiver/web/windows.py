"""Which setup windows are open: the vendors' test calls come from addresses that are not on their lists."""

from collections.abc import Mapping


class SetupWindows:
    """Until when each source may call from any address; filled from storage every few seconds, closes by itself."""

    def __init__(self) -> None:
        self._closes_at: dict[str, int] = {}

    def replace(self, closes_at: Mapping[str, int]) -> None:
        """Take what storage says now."""
        self._closes_at = dict(closes_at)

    def is_open(self, source: str, at: int) -> bool:
        """Tell whether the window of a source is open at a moment, in microseconds."""
        return self._closes_at.get(source, 0) > at

    def put(self, source: str, closes_at: int) -> None:
        """Take one change at once, before storage is asked again."""
        self._closes_at[source] = closes_at
