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
        """Take one token; return False if there is none. `now_seconds` is of a clock that never goes back."""
        self._left = min(self._burst, self._left + (now_seconds - self._at) * self._per_second)
        self._at = now_seconds
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait_seconds(self) -> float:
        """Return how long after a `take` that got none the next token is there."""
        return (1 - self._left) / self._per_second

    def is_full(self, now_seconds: float) -> bool:
        """Return whether the bucket is full again."""
        return self._left + (now_seconds - self._at) * self._per_second >= self._burst
