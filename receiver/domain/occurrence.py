"""The time of an event as a courier writes it. `newer` compares two of them.

Source: Ship24 documentation, "Data format". A time has one of four forms:

| form | meaning |
|---|---|
| `2022-10-23T15:13:37` | the courier's wall clock, zone unknown |
| `2022-12-21T17:01:12+02:00` | wall clock with its offset |
| `2022-09-03T23:58:12Z` | UTC; the local zone is unknown |
| `2022-08-14` | some time on that local day |

The text is stored as written. A time without a zone is never given one.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import NamedTuple

from receiver.clock import to_micros
from receiver.domain.trimming import trim

_FORM = re.compile(
    r"(\d{4}-\d\d-\d\d)"  # a local day
    r"(?:[Tt ]((?:[01]\d|2[0-3]):\d\d)(?:(:\d\d)(?:[.,](\d{1,9}))?)?"  # its wall clock; some write seven digits of fraction
    r"(Z|z|[+-]\d\d:?\d\d)?)?",  # its offset
    re.ASCII,
)


class Occurrence(NamedTuple):
    """A courier's time, parsed but not interpreted.

    `text` is the time as written, `day` its date. `wall` is the wall clock without a zone, None for a bare date. `instant` is the
    moment in time with its zone, None where no zone is given.
    """

    text: str
    day: date
    wall: datetime | None
    instant: datetime | None


def read_occurrence(text: str) -> Occurrence:
    """Read one of the four forms. Raises ValueError for anything else."""
    match = _FORM.fullmatch(trim(text))
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


def to_sortable_micros(text: str) -> int | None:
    """Return a time as microseconds, for sorting the times of one sender only; None if it cannot be read. No zone means UTC."""
    try:
        occurrence = read_occurrence(text)
    except ValueError:
        return None
    return to_micros(_as_if_utc(occurrence))


def is_implausible(occurrence: Occurrence, received: datetime, max_future: timedelta) -> bool:
    """Tell whether a time is further in the future, as of its receipt, than a wrong clock explains.

    For this check only, a time without a zone is read as UTC and a bare date as its first moment. The default limit of two
    days is wider than all time zones together.
    """
    return _as_if_utc(occurrence) - received > max_future


def _as_if_utc(occurrence: Occurrence) -> datetime:
    if occurrence.instant is not None:
        return occurrence.instant
    wall = occurrence.wall or datetime.combine(occurrence.day, datetime.min.time())
    return wall.replace(tzinfo=UTC)
