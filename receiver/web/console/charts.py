"""Charts as numbers for a template: columns over time, and how late events come. Pure.

Drawings stretch to the width of the page, so their words stand beside them as text and all lines keep their width.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from receiver.clock import from_micros, iso

_SECOND = 1_000_000
_COLUMN_WIDTH = 10
_GAP = 2
_HEIGHT = 100
_LEAST = 2.5  # what is there can be seen, however small
_TOPS = (2, 4, 6, 8, 10, 12, 16, 20, 24, 30, 40, 50, 60, 80, 100)
_MARKS = ((1, "1 s"), (60, "1 min"), (3600, "1 h"), (86_400, "1 d"), (30 * 86_400, "30 d"))


class ChartRange(NamedTuple):
    """A span of time to look at: what it is called, its length, and the length of one column."""

    name: str
    words: str
    seconds: int
    step_seconds: int

    def edges(self, now: int) -> tuple[int, int]:
        """Return where it begins and ends, in microseconds, at whole columns."""
        step = self.step_seconds * _SECOND
        until = now - now % step + step
        return until - self.seconds * _SECOND, until


WINDOWS = (
    ChartRange("1h", "1 hour", 3600, 60),
    ChartRange("24h", "24 hours", 86_400, 1800),
    ChartRange("7d", "7 days", 7 * 86_400, 3 * 3600),
    ChartRange("30d", "30 days", 30 * 86_400, 12 * 3600),
)


class Block(NamedTuple):
    """One part of a column: of which series, and where, in units of the drawing."""

    name: str
    x: float
    y: float
    width: float
    height: float


class Column(NamedTuple):
    """One column: when it begins, the counts of its series, and its parts from the bottom up."""

    begins_at: str
    ends_at: str
    counts: dict[str, int]
    total: int
    blocks: tuple[Block, ...]


class Chart(NamedTuple):
    """Columns over time, the totals of their series, the number at the top, and words below at equal distances."""

    columns: tuple[Column, ...]
    totals: dict[str, int]
    total: int
    top: int
    width: int
    marks: tuple[str, ...]


def draw_columns(window: ChartRange, now: int, series: Sequence[str], counted: Mapping[tuple[int, str], int]) -> Chart:
    """Draw what was counted by moment (microseconds) and name of a series."""
    since, until = window.edges(now)
    step = window.step_seconds * _SECOND
    counts = [Counter[str]() for _ in range((until - since) // step)]
    for (at, name), number in counted.items():
        if since <= at < until and name in series:
            counts[(at - since) // step][name] += number
    top = _round_up(max(count.total() for count in counts))
    columns = tuple(
        Column(
            iso(since + place * step),
            iso(since + (place + 1) * step),
            {name: count[name] for name in series if count[name]},
            count.total(),
            _stack(place, count, series, top),
        )
        for place, count in enumerate(counts)
    )
    totals = {name: sum(count[name] for count in counts) for name in series}
    return Chart(columns, totals, sum(totals.values()), top, len(columns) * _COLUMN_WIDTH, _name_times(since, until))


def _stack(place: int, count: Counter[str], series: Sequence[str], top: int) -> tuple[Block, ...]:
    blocks, bottom = [], float(_HEIGHT)
    for name in series:
        if count[name]:
            height = max(_LEAST, count[name] / top * _HEIGHT)
            bottom = max(0.0, bottom - height)
            blocks.append(Block(name, place * _COLUMN_WIDTH + _GAP / 2, round(bottom, 2), _COLUMN_WIDTH - _GAP, round(height, 2)))
    return tuple(blocks)


def _round_up(number: int) -> int:
    """Return a round number that is not much larger, and even, so that its half is whole."""
    size = max(1, int("1".ljust(len(str(number)) - 1, "0")))
    return next(step * size for step in _TOPS if step * size >= number)


def _name_times(since: int, until: int) -> tuple[str, ...]:
    form = "%H:%M" if until - since <= 86_400 * _SECOND else "%a %d" if until - since <= 7 * 86_400 * _SECOND else "%d %b"
    quarter = (until - since) // 4
    return tuple(f"{from_micros(since + quarter * part):{form}}" for part in range(5))


class Reach(NamedTuple):
    """How late events come, on a scale from a second to thirty days: places in per mille of the drawing's width."""

    typical: int
    most: int
    nearly_all: int


def draw_lag(p50: float, p90: float, p99: float) -> Reach:
    """Place three percentiles, in seconds, on the scale of `LAG_MARKS`."""
    return Reach(*(place_lag(seconds) for seconds in (p50, p90, p99)))


def place_lag(seconds: float) -> int:
    """Return the place of a delay on the scale, in per mille of its width."""
    longest = math.log(_MARKS[-1][0])
    return round(1000 * min(1.0, math.log(max(1.0, seconds)) / longest))


LAG_MARKS = tuple((place_lag(seconds), words) for seconds, words in _MARKS)
"""Places and names on the scale of `draw_lag`."""


class Thread(NamedTuple):
    """One event between the line of occurrence and the line of arrival: places in per mille of the drawing's width."""

    occurred: int
    arrived: int
    outcome: str
    late: bool


class Weave(NamedTuple):
    """All events of a tracker: straight threads came at once, slanted ones later, and where two cross, one overtook."""

    threads: tuple[Thread, ...]
    first: str
    last: str
    length: timedelta


def weave(events: Sequence[tuple[int, int, str, bool]]) -> Weave | None:
    """Draw events, each as (occurred, arrived, outcome, late), in microseconds; None if there is nothing to compare."""
    if not events:
        return None
    first = min(min(occurred, arrived) for occurred, arrived, _, _ in events)
    last = max(max(occurred, arrived) for occurred, arrived, _, _ in events)
    length = max(1, last - first)

    def place(at: int) -> int:
        return 15 + round(970 * (at - first) / length)

    threads = tuple(Thread(place(occurred), place(arrived), outcome, late) for occurred, arrived, outcome, late in events)
    return Weave(threads, iso(first), iso(last), timedelta(microseconds=length))
