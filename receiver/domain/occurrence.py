"""When a courier says that something happened, and which of two such times is newer.

Source: Ship24 documentation, "Data format" and "Webhooks ordering". A time comes in one of four forms:

| form | meaning |
|---|---|
| `2022-10-23T15:13:37` | the courier's wall clock, zone unknown |
| `2022-12-21T17:01:12+02:00` | wall clock with its offset |
| `2022-09-03T23:58:12Z` | UTC; the local zone is unknown |
| `2022-08-14` | some time on that local day |

The text is kept as it came. A time without a zone is never given one.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TypeVar

from receiver.clock import to_micros

_Comparable = TypeVar("_Comparable", date, datetime, int)
_FORM = re.compile(
    r"(\d{4}-\d\d-\d\d)"  # a local day
    r"(?:[Tt ]((?:[01]\d|2[0-3]):\d\d)(?:(:\d\d)(?:[.,](\d{1,9}))?)?"  # its wall clock; some write seven digits of fraction
    r"(Z|z|[+-]\d\d:?\d\d)?)?",  # its offset
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A courier's time, read but not interpreted.

    `text` is what came. `day` is the date as written. `wall` is the clock as written, without a zone, or None for a bare date.
    `instant` is the aware moment, or None where no zone was given.
    """

    text: str
    day: date
    wall: datetime | None
    instant: datetime | None


@dataclass(frozen=True, slots=True)
class Moment:
    """What decides between two events of a tracker: the time and the vendor's own sequence number.

    `order` is lower for older events; Ship24 renumbers nothing that was sent, so it is only used between equal times.
    """

    occurrence: Occurrence
    order: int | None


def read_occurrence(text: str) -> Occurrence:
    """Read one of the four forms. Raises ValueError for anything else."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError("not one of the four forms of a date-time")
    day, clock, seconds, fraction, zone = match.groups()
    if clock is None:
        return Occurrence(text, date.fromisoformat(day), None, None)
    wall = datetime.fromisoformat(f"{day}T{clock}{seconds or ':00'}")
    if fraction:
        wall = wall.replace(microsecond=int(fraction[:6].ljust(6, "0")))
    if zone is None:
        return Occurrence(text, wall.date(), wall, None)
    instant = wall.replace(tzinfo=_read_zone(zone))
    return Occurrence(text, wall.date(), wall, instant)


def _read_zone(zone: str) -> timezone:
    if zone in "Zz":
        return UTC
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if minutes > 59:
        raise ValueError("an offset has at most 59 minutes")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if zone[0] == "-" else offset)  # ValueError from 24 hours on


def rank(text: str) -> int | None:
    """Return a time as microseconds for sorting what one sender wrote, or None if it cannot be read; no zone is read as UTC."""
    try:
        occurrence = read_occurrence(text)
    except ValueError:
        return None
    return to_micros(_as_if_utc(occurrence))


def compare(candidate: Moment, latest: Moment) -> int:
    """Return 1 if `candidate` is newer than `latest`, -1 if it is older, 0 if neither can be said.

    1. Both carry a time of day: with a zone on both, the instants decide; else the wall clocks as written.
    2. Either is a bare date: the dates as written decide.
    3. Still equal: the larger `order`, if both have one.
    """
    one, other = candidate.occurrence, latest.occurrence
    if one.wall is None or other.wall is None:
        by_time = _sign(one.day, other.day)
    elif one.instant is not None and other.instant is not None:
        by_time = _sign(one.instant, other.instant)
    else:
        by_time = _sign(one.wall, other.wall)
    if by_time or candidate.order is None or latest.order is None:
        return by_time
    return _sign(candidate.order, latest.order)


def is_newer(candidate: Moment, latest: Moment | None) -> bool:
    """Tell whether `candidate` moves a tracker whose latest event is `latest` (None: it has none yet)."""
    return latest is None or compare(candidate, latest) > 0


def is_implausible(occurrence: Occurrence, received: datetime, max_future: timedelta) -> bool:
    """Tell whether a time lies further ahead of its receipt than a courier's clock can.

    Only for this check a time without a zone is read as UTC, and a bare date as its first moment: the limit of two days is wider
    than all zones together.
    """
    return _as_if_utc(occurrence) - received > max_future


def _as_if_utc(occurrence: Occurrence) -> datetime:
    if occurrence.instant is not None:
        return occurrence.instant
    wall = occurrence.wall or datetime.combine(occurrence.day, datetime.min.time())
    return wall.replace(tzinfo=UTC)


def _sign(one: _Comparable, other: _Comparable) -> int:
    return (one > other) - (one < other)
