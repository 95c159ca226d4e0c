"""How often something may happen: so many times at once, then at a rate. Pure: the time is a parameter."""


class TokenBucket:
    """A bucket of `burst` that fills again at `per_second`."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, burst: int = 100, per_second: float = 1.0) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at = 0.0

    def take(self, now_seconds: float) -> bool:
        """Take one out, if there is one. `now_seconds` is of any clock that does not go back."""
        self._left = min(self._burst, self._left + (now_seconds - self._at) * self._per_second)
        self._at = now_seconds
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait_seconds(self) -> float:
        """Return how long after the last `take` there is one again."""
        return max(0.0, (1 - self._left) / self._per_second)

    def is_full(self, now_seconds: float) -> bool:
        """Tell whether all that was taken has come back."""
        return self._left + (now_seconds - self._at) * self._per_second >= self._burst
