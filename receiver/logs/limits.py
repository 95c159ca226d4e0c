"""Limits for log lines of one kind, so that a flood cannot fill the disk. Suppressed lines are counted."""

from collections.abc import Callable
from logging import LogRecord

_LINES = (50, 1.0)  # at once, then per second
_TRACEBACKS = (5, 0.1)
_MAX_KINDS = 256  # our event names; libraries may log any text, and texts beyond this number share one kind
_OTHERS = "others"


class LineLimits:
    """A log filter with one token bucket for each event name, and another for its lines with a traceback."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def filter(self, record: LogRecord) -> bool:
        """Tell whether to log a record. Add to it the number of lines suppressed before it (`suppressed`)."""
        pairs = record.msg if isinstance(record.msg, dict) else None
        event = str(pairs.get("event") if pairs is not None else record.msg).partition("\n")[0]
        has_traceback = bool(record.exc_info) or (pairs is not None and "exception" in pairs)
        bucket = self._find(event, has_traceback=has_traceback)
        if not bucket.take(self._clock()):
            return False
        suppressed, bucket.suppressed = bucket.suppressed, 0
        if suppressed and pairs is not None:
            pairs["suppressed"] = suppressed
        elif suppressed:
            record.suppressed = suppressed
        return True

    def take_suppressed(self) -> dict[str, int]:
        """Return the number of suppressed lines by event that are not reported yet."""
        counts: dict[str, int] = {}
        for bucket in list(self._buckets.values()):
            if bucket.suppressed:
                counts[bucket.event] = counts.get(bucket.event, 0) + bucket.suppressed
                bucket.suppressed = 0
        return counts

    def _find(self, event: str, *, has_traceback: bool) -> "_Bucket":
        if event not in self._buckets and len(self._buckets) >= _MAX_KINDS:
            event = _OTHERS
        key = f"{event} with traceback" if has_traceback else event
        return self._buckets.setdefault(key, _Bucket(event, *(_TRACEBACKS if has_traceback else _LINES), self._clock()))


class _Bucket:
    """A token bucket for lines: `burst` at once, then `per_second`."""

    def __init__(self, event: str, burst: int, per_second: float, now: float) -> None:
        self.event = event
        self.suppressed = 0
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at = now

    def take(self, now: float) -> bool:
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            self.suppressed += 1
            return False
        self._left -= 1
        return True
