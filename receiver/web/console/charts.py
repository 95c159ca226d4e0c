"""Charts as numbers for a template: counts over time, the delay of events, and events that arrived out of order. Pure.

A drawing stretches to the width of the page; its texts are outside of it, and its lines keep their width.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, tzinfo
from itertools import pairwise
from typing import NamedTuple

from receiver.clock import from_micros, iso

_SECOND = 1_000_000
_COLUMN_WIDTH = 10
_GAP = 2
_HEIGHT = 100
_VISIBLE_HEIGHT = 2.5  # a lower part is too thin to be seen
_TOPS = (2, 4, 6, 8, 10, 12, 16, 20, 24, 30, 40, 50, 60, 80, 100)
_MAX_LINES = 60  # more cannot be distinguished on a phone
_MARKS = ((1, "1 s"), (60, "1 min"), (3600, "1 h"), (86_400, "1 d"), (30 * 86_400, "30 d"))


class Block(NamedTuple):
    """The part of a column that belongs to one series, in units of the drawing. A thin one needs a line of its own to be seen."""

    name: str
    x: float
    y: float
    width: float
    height: float
    is_thin: bool


class Column(NamedTuple):
    """One column: its time range, the counts of its series, and its parts from the bottom up."""

    begins_at: str
    ends_at: str
    counts: dict[str, int]
    total: int
    blocks: tuple[Block, ...]


class Chart(NamedTuple):
    """Columns over time. `top` is the number at the upper edge, `marks` are times below at equal distances."""

    columns: tuple[Column, ...]
    totals: dict[str, int]
    total: int
    top: int
    width: int
    marks: tuple[str, ...]


def draw_columns(
    edges: Sequence[int],
    series: Sequence[str],
    counted: Mapping[tuple[int, str], int],
    min_top: int = 0,
    zone: tzinfo = UTC,
) -> Chart:
    """Draw counts to scale, from zero. `counted` has them by moment (microseconds) and name of a series.

    `edges` are the begin of each column and the end of the last one, in microseconds. `min_top` is the `top` of a chart beside it
    that has the same scale.
    """
    counts = [Counter[str]() for _ in edges[1:]]
    for (at, name), number in counted.items():
        if edges[0] <= at < edges[-1] and name in series:
            counts[bisect_right(edges, at) - 1][name] += number
    top = max(min_top, _round_up(max(count.total() for count in counts)))
    columns = tuple(
        Column(
            iso(begin),
            iso(end),
            {name: count[name] for name in series if count[name]},
            count.total(),
            _stack(number * _COLUMN_WIDTH, count, series, top),
        )
        for number, (count, (begin, end)) in enumerate(zip(counts, pairwise(edges), strict=True))
    )
    totals = {name: sum(count[name] for count in counts) for name in series}
    return Chart(columns, totals, sum(totals.values()), top, len(columns) * _COLUMN_WIDTH, _name_times(edges, zone))


def _stack(left: int, count: Counter[str], series: Sequence[str], top: int) -> tuple[Block, ...]:
    blocks, bottom = [], float(_HEIGHT)
    for name in series:
        if count[name]:
            height = count[name] / top * _HEIGHT
            bottom -= height
            place = left + _GAP / 2, round(max(0.0, bottom), 2), _COLUMN_WIDTH - _GAP, round(height, 2)
            blocks.append(Block(name, *place, is_thin=height < _VISIBLE_HEIGHT))
    return tuple(blocks)


def _round_up(number: int) -> int:
    """Return the next round number that is even, so that half of it is whole."""
    size = max(1, int("1".ljust(len(str(number)) - 1, "0")))
    return next(step * size for step in _TOPS if step * size >= number)


def _name_times(edges: Sequence[int], zone: tzinfo) -> tuple[str, ...]:
    seconds = (edges[-1] - edges[0]) / _SECOND
    form = "%H:%M" if seconds <= 86_400 else "%a %d" if seconds <= 8 * 86_400 else "%d %b"
    marks = (edges[(len(edges) - 1) * part // 4] for part in range(5))
    return tuple(f"{from_micros(mark).astimezone(zone):{form}}" for mark in marks)


class LagChart(NamedTuple):
    """Three percentiles of the delay, on a scale from a second to thirty days, in per mille of the drawing's width."""

    p50: int
    p90: int
    p99: int


def draw_lag(p50: float, p90: float, p99: float) -> LagChart:
    """Place three percentiles, in seconds, on the scale of `LAG_MARKS`."""
    return LagChart(*(_place_lag(seconds) for seconds in (p50, p90, p99)))


def _place_lag(seconds: float) -> int:
    longest = math.log(_MARKS[-1][0])
    return round(1000 * min(1.0, math.log(max(1.0, seconds)) / longest))


LAG_MARKS = tuple((_place_lag(seconds), words) for seconds, words in _MARKS)
"""Positions and names on the scale of `draw_lag`."""


class TimedEvent(NamedTuple):
    """One event for `draw_order`; moments in microseconds."""

    occurred_at: int
    received_at: int
    outcome: str
    is_late: bool


class OrderLine(NamedTuple):
    """One event, from its position in event order to its position in arrival order, in per mille of the drawing's width."""

    occurred: int
    received: int
    outcome: str
    is_late: bool


class OrderChart(NamedTuple):
    """The newest events as lines that cross where one overtook another. Of all `total`, `overtaken` arrived after a newer one."""

    lines: tuple[OrderLine, ...]
    overtaken: int
    total: int


def draw_order(events: Sequence[TimedEvent]) -> OrderChart:
    """Draw events in the order of their times above and of their arrival below. Equal moments share a position."""
    drawn = sorted(events)[-_MAX_LINES:]
    occurred = _spread([event.occurred_at for event in drawn])
    received = _spread([event.received_at for event in drawn])
    lines = tuple(
        OrderLine(occurred[event.occurred_at], received[event.received_at], event.outcome, event.is_late) for event in drawn
    )
    return OrderChart(lines, _count_overtaken(events), len(events))


def _spread(moments: Sequence[int]) -> dict[int, int]:
    """Return the position of each moment, in per mille: in order and evenly spaced. Equal moments share the middle of theirs."""
    ordered = sorted(moments)
    steps = max(1, len(ordered) - 1)
    return {at: 15 + round(970 * (bisect_left(ordered, at) + bisect_right(ordered, at) - 1) / 2 / steps) for at in ordered}


def _count_overtaken(events: Iterable[TimedEvent]) -> int:
    overtaken, newest = 0, None
    for event in sorted(events, key=lambda event: (event.received_at, event.occurred_at)):
        if newest is not None and event.occurred_at < newest:
            overtaken += 1
        else:
            newest = event.occurred_at
    return overtaken
