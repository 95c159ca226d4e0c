"""When to try again, and when to leave a target alone for a while. Pure: moments and chance are parameters.

The steps are those of the Standard Webhooks recommendation (five seconds to a day, spread), stretched to about three days.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

DELAYS_SECONDS = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400, 86_400)
"""After the first try, the second, and so on; after the last one a change is given up."""

_JITTER = 0.2
_MAX_ASKED_SECONDS = 86_400
_SECOND = 1_000_000


class RetryPolicy(NamedTuple):
    """How long is waited: between tries of a change; until a target that counts as dead, after `timings` failures in a row, gets
    the next call; at most, for everything, because one change was answered with Retry-After; for a sign that never comes.
    """

    delays_seconds: tuple[float, ...] = DELAYS_SECONDS
    timings: int = 5
    pauses_seconds: tuple[float, ...] = (10, 30, 60, 120, 300)
    max_rest_seconds: float = 300
    poll_seconds: float = 5


PACE = RetryPolicy()


def next_try(
    attempts: int, now: int, chance: float, asked_seconds: float | None = None, delays: tuple[float, ...] = DELAYS_SECONDS
) -> int | None:
    """Return when to try again after so many attempts, in microseconds; None: never again.

    `chance` (0 to 1) spreads the tries of many changes. A target that says when to come again is heard, within a day.
    """
    if attempts > len(delays):
        return None
    delay = delays[attempts - 1]
    if asked_seconds is not None:
        delay = max(delay, min(asked_seconds, _MAX_ASKED_SECONDS))
        return now + int(delay * (1 + _JITTER * chance) * _SECOND)  # never before it wants us
    return now + int(delay * (1 + _JITTER * (2 * chance - 1)) * _SECOND)


@dataclass(frozen=True, slots=True)
class Circuit:
    """Whether a target is spared: after some failures in a row it gets one call now and then, until it answers again.

    A failure here says that the target is down; that it does not take some change is an answer. `failures` counts those that say
    something new: what was under way together when the target went fails together, once.
    """

    pace: RetryPolicy = PACE
    failures: int = 0
    opens_at: int = 0
    rests_until: int = 0

    def room(self, now: int, limit: int) -> int:
        """Return how many calls may be under way."""
        if now < self.rests_until or now < self.opens_at:
            return 0
        return limit if self.failures < self.pace.timings else 1

    def opens_in(self, now: int) -> float:
        """Return for how many seconds there will be no room."""
        return max(0, self.opens_at - now, self.rests_until - now) / _SECOND

    @property
    def is_probing(self) -> bool:
        """Tell whether the next call is one to find out if the target is still down."""
        return self.failures >= self.pace.timings

    @property
    def probes_newest(self) -> bool:
        """Tell which change that call takes: by turns the newest that is due, and the oldest.

        So what fails by itself, though it looks as if the target were down, is not all that is ever tried.
        """
        return (self.failures - self.pace.timings) % 2 == 0

    def succeeded(self) -> "Circuit":
        """Return the state after an answer. A rest that was asked for goes on."""
        return Circuit(self.pace, rests_until=self.rests_until)

    def failed(self, now: int, asked_seconds: float | None = None) -> "Circuit":
        """Return the state after a failure. If the target said when to come again it has a rest from everything."""
        rest = 0 if asked_seconds is None else now + int(min(asked_seconds, self.pace.max_rest_seconds) * _SECOND)
        rested = replace(self, rests_until=max(self.rests_until, rest))
        if now < self.opens_at:
            return rested
        failures = self.failures + 1
        late = failures - self.pace.timings
        if late < 0:
            return replace(rested, failures=failures)
        pauses = self.pace.pauses_seconds
        return replace(rested, failures=failures, opens_at=now + int(pauses[min(late, len(pauses) - 1)] * _SECOND))
