"""The rule for "newer": which of two events of a tracker is the later one. Pure.

Source: Ship24 documentation, "Webhooks ordering".
"""

from datetime import date, datetime
from typing import NamedTuple, TypeVar

from receiver.domain.occurrence import Occurrence

_Comparable = TypeVar("_Comparable", date, datetime, int)


class EventTime(NamedTuple):
    """The time of an event and the vendor's own sequence number, which together decide between two events of a tracker.

    `order` is lower for older events. Ship24 does not renumber events that it has sent, so it only decides between equal times.
    """

    occurrence: Occurrence
    order: int | None


def compare_times(candidate: EventTime, latest: EventTime) -> int:
    """Return 1 if `candidate` is newer than `latest`, -1 if it is older, 0 for a tie.

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


def is_newer(candidate: EventTime, latest: EventTime | None) -> bool:
    """Tell whether `candidate` is newer than the latest event of its tracker (None: there is no event yet)."""
    return latest is None or compare_times(candidate, latest) > 0


def _sign(one: _Comparable, other: _Comparable) -> int:
    return (one > other) - (one < other)
