"""When to retry a change, and when to pause a target. Pure: time and chance are parameters.

The delays are those of the Standard Webhooks recommendation (five seconds to a day, with jitter), stretched to about three days.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

DELAYS_SECONDS = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400, 86_400)
"""The delay after the first attempt, the second, and so on. After the last one a change is failed."""

_JITTER = 0.2
_MAX_REQUESTED_SECONDS = 86_400
_SECOND = 1_000_000


class RetryPolicy(NamedTuple):
    """When to retry.

    delays_seconds: delay after each failed attempt at a change
    failure_limit: failures of the target in a row that open its circuit
    pauses_seconds: pauses of an open circuit, each before one probe; the last one repeats
    max_rest_seconds: longest pause of the whole target for a Retry-After
    poll_seconds: longest wait without a wake-up
    """

    delays_seconds: tuple[float, ...] = DELAYS_SECONDS
    failure_limit: int = 5
    pauses_seconds: tuple[float, ...] = (10, 30, 60, 120, 300)
    max_rest_seconds: float = 300
    poll_seconds: float = 5


DEFAULT_POLICY = RetryPolicy()


def next_try(
    attempts: int, now: int, chance: float, requested_seconds: float | None = None, delays: tuple[float, ...] = DELAYS_SECONDS
) -> int | None:
    """Return when to retry after so many attempts, in microseconds; None: never.

    `chance` (0 to 1) spreads the retries of many changes. `requested_seconds` is the target's
    Retry-After, honoured up to a day.
    """
    if attempts > len(delays):
        return None
    delay = delays[attempts - 1]
    if requested_seconds is not None:
        delay = max(delay, min(requested_seconds, _MAX_REQUESTED_SECONDS))
        return now + int(delay * (1 + _JITTER * chance) * _SECOND)  # never earlier than the target asks for
    return now + int(delay * (1 + _JITTER * (2 * chance - 1)) * _SECOND)


@dataclass(frozen=True, slots=True)
class Circuit:
    """The circuit of one target: after some failures in a row it is open and lets through one probe after each pause.

    Only TargetUnavailable is a failure here; a rejected change is a response. Changes in flight together when the target became
    unavailable count as one failure. Times are microseconds.
    """

    policy: RetryPolicy = DEFAULT_POLICY
    failures: int = 0
    blocked_until: int = 0
    rests_until: int = 0

    def room(self, now: int, limit: int) -> int:
        """Return how many changes may be in flight."""
        if now < self.rests_until or now < self.blocked_until:
            return 0
        return limit if self.failures < self.policy.failure_limit else 1

    def blocked_for(self, now: int) -> float:
        """Return the seconds until there is room."""
        return max(0, self.blocked_until - now, self.rests_until - now) / _SECOND

    @property
    def is_probing(self) -> bool:
        """Return whether the next change is a probe of a target that is down."""
        return self.failures >= self.policy.failure_limit

    @property
    def probes_newest(self) -> bool:
        """Return whether the probe is the newest due change; otherwise it is the oldest. They alternate.

        Otherwise one change that makes the target fail could be the only one that is ever tried.
        """
        return (self.failures - self.policy.failure_limit) % 2 == 0

    def succeeded(self) -> "Circuit":
        """Return the state after a response. A pause for a Retry-After continues."""
        return Circuit(self.policy, rests_until=self.rests_until)

    def failed(self, now: int, requested_seconds: float | None = None) -> "Circuit":
        """Return the state after a failure. A Retry-After pauses the whole target."""
        rest = 0 if requested_seconds is None else now + int(min(requested_seconds, self.policy.max_rest_seconds) * _SECOND)
        rested = replace(self, rests_until=max(self.rests_until, rest))
        if now < self.blocked_until:
            return rested
        failures = self.failures + 1
        excess = failures - self.policy.failure_limit
        if excess < 0:
            return replace(rested, failures=failures)
        pauses = self.policy.pauses_seconds
        return replace(rested, failures=failures, blocked_until=now + int(pauses[min(excess, len(pauses) - 1)] * _SECOND))
