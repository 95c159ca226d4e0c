"""The benchmark's arithmetic: percentiles."""

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
