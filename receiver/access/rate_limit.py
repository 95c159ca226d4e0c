"""A rate limit: a token bucket. Pure: the time is a parameter."""


class TokenBucket:
    """A bucket of `burst` tokens that refills at `per_second`."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, burst: int = 100, per_second: float = 1.0) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at = 0.0

    def take(self, now_seconds: float) -> bool:
        """Take one token; return False if there is none. `now_seconds` is the time of a monotonic clock."""
        self._left = min(self._burst, self._left + (now_seconds - self._at) * self._per_second)
        self._at = now_seconds
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait_seconds(self) -> float:
        """Return the seconds between a `take` that got no token and the next token."""
        return (1 - self._left) / self._per_second

    def is_full(self, now_seconds: float) -> bool:
        """Tell whether the bucket is full again."""
        return self._left + (now_seconds - self._at) * self._per_second >= self._burst
