"""When to try again, and when to leave a target alone for a while. Pure: moments and chance are parameters.

The steps are those of the Standard Webhooks recommendation (five seconds to a day, spread), stretched to about three days.
"""

from dataclasses import dataclass

DELAYS_SECONDS = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400, 86_400)
"""After the first try, the second, and so on; after the last one a change is given up."""

_JITTER = 0.2
_PATIENCE = 5  # failures in a row until a target counts as dead
_PAUSES_SECONDS = (10, 30, 60, 120, 300)
_SECOND = 1_000_000


def next_try(attempts: int, now: int, chance: float, retry_after_seconds: float | None = None) -> int | None:
    """Return when to try again after so many attempts, in microseconds; None: never again.

    `chance` (0 to 1) spreads the tries of many changes. A target that says when to come again is heard, within a day.
    """
    if attempts > len(DELAYS_SECONDS):
        return None
    delay = DELAYS_SECONDS[attempts - 1] * (1 + _JITTER * (2 * chance - 1))
    if retry_after_seconds is not None:
        delay = max(delay, min(retry_after_seconds, 86_400))
    return now + int(delay * _SECOND)


@dataclass(frozen=True, slots=True)
class Circuit:
    """Whether a target is spared: after some failures in a row it gets one call now and then, until one succeeds."""

    failures: int = 0
    opens_at: int = 0

    def room(self, now: int, limit: int) -> int:
        """Return how many calls may be under way."""
        if self.failures < _PATIENCE:
            return limit
        return 1 if now >= self.opens_at else 0

    def succeeded(self) -> "Circuit":
        """Return the state after a success."""
        return Circuit()

    def failed(self, now: int) -> "Circuit":
        """Return the state after a failure."""
        failures = self.failures + 1
        pause = _PAUSES_SECONDS[min(max(0, failures - _PATIENCE), len(_PAUSES_SECONDS) - 1)]
        return Circuit(failures, now + pause * _SECOND if failures >= _PATIENCE else 0)
