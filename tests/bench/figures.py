"""The benchmark's arithmetic: percentiles, and whether a goal is reached."""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import NamedTuple


class Latency(NamedTuple):
    """Latencies of requests in milliseconds, and their number."""

    calls: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


def summarise(micros: Iterable[float]) -> Latency:
    """Return the latencies for durations in microseconds; there must be at least one."""
    ordered = sorted(micros)
    p50, p99, p999 = (percentile(ordered, per_mille) / 1000 for per_mille in (500, 990, 999))
    return Latency(len(ordered), p50, p99, p999, ordered[-1] / 1000)


def percentile(ordered: Sequence[float], per_mille: int) -> float:
    """Return the smallest value that so many thousandths of the ordered values do not exceed: always one that was measured."""
    return ordered[max(0, ceil(per_mille * len(ordered) / 1000) - 1)]


class Goal(NamedTuple):
    """A goal for a figure. `digits` are shown after the point; the exact value is judged."""

    name: str
    measured: float
    wanted: float
    digits: int = 0
    at_least: bool = False

    @property
    def is_reached(self) -> bool:
        """Tell whether the goal is reached."""
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted

    def cells(self) -> tuple[str, str, str, str]:
        """Return the line of a table."""
        wanted = f"{'≥' if self.at_least else '≤'} {self.wanted:,.{self.digits}f}"
        return self.name, f"{self.measured:,.{self.digits}f}", wanted, "yes" if self.is_reached else "no"
