"""How many refused calls are recorded one by one. Pure: the time is a parameter."""


class Allowance:
    """A bucket of `burst` records that fills again at `per_second`: a flood of refused calls cannot fill the disk."""

    def __init__(self, burst: int = 100, per_second: float = 1.0) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at = 0.0

    def take(self, now_seconds: float) -> bool:
        """Take one record out, if there is one. `now_seconds` is of any clock that does not go back."""
        self._left = min(self._burst, self._left + (now_seconds - self._at) * self._per_second)
        self._at = now_seconds
        if self._left < 1:
            return False
        self._left -= 1
        return True
