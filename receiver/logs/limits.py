"""How many lines of one kind are logged: a flood of them cannot fill the disk, and what is left out is counted."""

from collections.abc import Callable
from logging import LogRecord

_LINES = (50, 1.0)  # at once, then a second
_TRACEBACKS = (5, 0.1)
_MAX_KINDS = 256  # kinds are our event names; of what libraries make up, the rest shares one
_OTHERS = "others"


class LineLimits:
    """A filter for a log handler: one bucket of lines for each event name, one for each event with a traceback."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def filter(self, record: LogRecord) -> bool:
        """Tell whether a record is logged; one that is says how many before it were not (`suppressed`)."""
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
        """Return how many lines of each event were left out and are not reported yet."""
        left_out: dict[str, int] = {}
        for bucket in list(self._buckets.values()):
            if bucket.suppressed:
                left_out[bucket.event] = left_out.get(bucket.event, 0) + bucket.suppressed
                bucket.suppressed = 0
        return left_out

    def _find(self, event: str, *, has_traceback: bool) -> "_Bucket":
        if event not in self._buckets and len(self._buckets) >= _MAX_KINDS:
            event = _OTHERS
        key = f"{event} with traceback" if has_traceback else event
        return self._buckets.setdefault(key, _Bucket(event, *(_TRACEBACKS if has_traceback else _LINES), self._clock()))


class _Bucket:
    """Lines of one kind: `burst` of them, and one more each time it has filled again."""

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
