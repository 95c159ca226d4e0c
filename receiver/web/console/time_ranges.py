"""The time ranges of the overview, and their columns in a time zone. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from receiver.clock import from_micros, to_micros
from receiver.domain.time_inputs import read_time_input
from receiver.errors import UnexpectedShape
from receiver.storage.counters import HOUR_SECONDS, find_counted_span

_SECOND = 1_000_000
_HOUR = 3600
_STEPS = (60, 300, 900, 1800, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, 24 * _HOUR, 7 * 24 * _HOUR)
_MAX_COLUMNS = 60
_LONGEST = timedelta(days=400)
_SHOWN_BEFORE = timedelta(hours=24)  # without a begin


class ChartRange(NamedTuple):
    """A range that ends now: its name in the URL, its text, and the lengths of itself and of one column."""

    name: str
    words: str
    seconds: int
    step_seconds: int


RANGES = (
    ChartRange("1h", "hour", _HOUR, 60),
    ChartRange("24h", "24 hours", 24 * _HOUR, 1800),
    ChartRange("7d", "7 days", 7 * 24 * _HOUR, 3 * _HOUR),
    ChartRange("30d", "30 days", 30 * 24 * _HOUR, 12 * _HOUR),
)


class TimeRange(NamedTuple):
    """A range in columns. `edges` are the begin of each column and the end of the last one, in microseconds.

    `name` is that of a `ChartRange`, or empty.
    """

    name: str
    words: str
    edges: tuple[int, ...]


def read_range(query: Mapping[str, str], now: datetime, zone: tzinfo) -> TimeRange:
    """Return the range that a query asks for: from `since` to `until`, or else the `window` that ends now.

    Raises UnexpectedShape that names the parameter.
    """
    if "since" not in query and "until" not in query:
        return last_range(next((one for one in RANGES if one.name == query.get("window")), RANGES[1]), now, zone)
    until = min(_read(query, "until", now, zone) or to_micros(now) + 1, to_micros(now) + 1)
    since = _read(query, "since", now, zone)
    since = until - _SHOWN_BEFORE // timedelta(microseconds=1) if since is None else since
    if not 0 < until - since <= _LONGEST // timedelta(microseconds=1):
        raise UnexpectedShape("since: expected a time before the end of the range, at most 400 days earlier.")
    step = next((step for step in _STEPS if until - since <= _MAX_COLUMNS * step * _SECOND), _STEPS[-1])
    step = max(step, find_counted_span(_begin(since, step, zone), to_micros(now)))
    return TimeRange("", "in this time range", _fit_counts(divide(since, until, step, zone), now))


def last_range(chosen: ChartRange, now: datetime, zone: tzinfo) -> TimeRange:
    """Return a range that ends now, which lies in its last column."""
    margin = chosen.seconds + 2 * chosen.step_seconds  # a day with a change of clocks has an hour more or less
    edges = divide(to_micros(now) - margin * _SECOND, to_micros(now) + 1, chosen.step_seconds, zone)
    edges = edges[-chosen.seconds // chosen.step_seconds - 1 :]
    return TimeRange(chosen.name, f"in the last {chosen.words}", _fit_counts(edges, now))


def divide(since: int, until: int, step_seconds: int, zone: tzinfo) -> tuple[int, ...]:
    """Return the edges of whole columns that contain a range.

    Columns of more than an hour begin at their hours of the local day, so one may be longer or shorter where clocks change.
    """
    edges = [_begin(since, step_seconds, zone)]
    local = from_micros(edges[0]).astimezone(zone).replace(tzinfo=None)
    while edges[-1] < until:
        local += timedelta(seconds=step_seconds)
        edge = (
            edges[-1] + step_seconds * _SECOND if step_seconds <= _HOUR else to_micros(local.replace(tzinfo=zone).astimezone(UTC))
        )
        if edge > edges[-1]:  # hours that clocks leave out have no column
            edges.append(edge)
    return tuple(edges)


def _fit_counts(edges: tuple[int, ...], now: datetime) -> tuple[int, ...]:
    """Move the edges out to whole hours of UTC where only these are counted. In a zone with another minute they lie between."""
    if find_counted_span(edges[0], to_micros(now)) < HOUR_SECONDS:
        return edges
    hour = HOUR_SECONDS * _SECOND
    return *(edge - edge % hour for edge in edges[:-1]), edges[-1] + -edges[-1] % hour


def _begin(at: int, step_seconds: int, zone: tzinfo) -> int:
    """Return the begin of the column that contains a moment. Columns begin at midnight, local time."""
    moment = from_micros(at).astimezone(zone)
    local = moment.replace(tzinfo=None)
    midnight = datetime.combine(local.date(), time())
    step = timedelta(seconds=step_seconds)
    begin = midnight + (local - midnight) // step * step
    if step_seconds <= _HOUR:  # never over a change of clocks
        return at - (local - begin) // timedelta(microseconds=1)
    return to_micros(begin.replace(tzinfo=zone).astimezone(UTC))


def _read(query: Mapping[str, str], name: str, now: datetime, zone: tzinfo) -> int | None:
    try:
        return read_time_input(query[name], now, zone) if name in query else None
    except ValueError as error:
        raise UnexpectedShape(f"{name}: {error}.") from None
