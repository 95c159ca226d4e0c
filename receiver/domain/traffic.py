"""The traffic of one source, and what is wrong with it: rejected, quarantined and stale messages. Pure.

Each rule has a number that suits a large source, and a share with a small minimum, so that a source with five deliveries a day
reaches its alarm too. An alarm that is on ends at half of each. Times and durations are in microseconds; times count from 1970,
UTC.
"""

from collections.abc import Iterable
from typing import NamedTuple

from receiver.clock import iso
from receiver.domain.labels import count, label

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

REFUSED_WINDOW = 5 * MINUTE
"""The time over which many rejected deliveries are counted. Shares and verdicts are about the last hour."""

REFUSED_CODES = frozenset({"unauthorized", "address_not_allowed"})
"""The error codes of the rejections that are counted: 401 and 403."""

STREAK_WINDOW = 7 * DAY
"""Older deliveries count in no streak: a source that has stopped is silent."""

MIN_STREAK = 3
"""So many deliveries or messages in a row are an alarm, and so many in an hour if they reach the share."""

_STALE_FROM = 100  # messages in an hour: a share of fewer says little
_STALE_FROM_DAILY = 10  # messages in a day, for a source that has fewer in an hour


class Streak(NamedTuple):
    """The newest deliveries or messages of a source that all failed in the same way.

    `since` is the arrival of the first of them, `good_at` that of the one before it (None: there is none in STREAK_WINDOW).
    """

    number: int = 0
    since: int = 0
    good_at: int | None = None


class Traffic(NamedTuple):
    """The traffic of one source.

    `last_delivery_at` is the time of the last accepted delivery, `longest_gap` the longest usual pause (None: not known
    yet). `refused` counts the last five minutes, `undecidable` our own failures in the last day, fields with `_hourly` and the
    verdicts the last hour, fields with `_daily` the last day. `messages` are those with any verdict, `busiest_hour` is the
    largest number of them in one hour of the last day.
    """

    last_delivery_at: int | None = None
    longest_gap: int | None = None
    refused: int = 0
    quarantined: int = 0
    applied: int = 0
    stale: int = 0
    undecidable: int = 0
    refused_hourly: int = 0
    deliveries_hourly: int = 0
    messages: int = 0
    applied_daily: int = 0
    stale_daily: int = 0
    busiest_hour: int = 0
    refused_streak: Streak = Streak()
    quarantined_streak: Streak = Streak()


class DeliveryResult(NamedTuple):
    """One stored delivery of a source: its arrival, its outcome and error code, its messages and those in quarantine."""

    received_at: int
    outcome: str
    code: str | None
    received: int
    quarantined: int


def find_refused_streak(newest_first: Iterable[DeliveryResult]) -> Streak:
    """Return the newest deliveries that were all answered 401 or 403. Other rejections say nothing about token and address."""
    telling = (row for row in newest_first if row.outcome != "refused" or row.code in REFUSED_CODES)
    return _find_streak((row, 1, row.code in REFUSED_CODES) for row in telling)


def find_quarantined_streak(newest_first: Iterable[DeliveryResult]) -> Streak:
    """Return the messages of the newest deliveries of which every message was quarantined."""
    return _find_streak((row, row.received, row.quarantined == row.received) for row in newest_first if row.received)


def _find_streak(rows: Iterable[tuple[DeliveryResult, int, bool]]) -> Streak:
    number, since = 0, 0
    for row, size, is_bad in rows:
        if not is_bad:
            return Streak(number, since, row.received_at)
        number, since = number + size, row.received_at
    return Streak(number, since)


def judge_refused(source: str, traffic: Traffic, limit: int, percent: float, now: int, *, is_on: bool) -> str | None:
    """Return what is wrong with the rejected deliveries of a source, or None."""
    if not limit:
        return None
    if reaches(traffic.refused, limit, is_on=is_on):
        rejected = count(traffic.refused, "rejected delivery", "rejected deliveries")
        return f"{rejected} for {label(source)} in 5 minutes (401/403, limit {limit:,})"
    if percent and _lasts(traffic.refused_streak, now, is_on=is_on):
        last = f"The last {count(traffic.refused_streak.number, 'delivery', 'deliveries')} for {label(source)}"
        return f"{last} were all rejected (401/403), since {minute(traffic.refused_streak.since)}"
    number, total = traffic.refused_hourly, traffic.deliveries_hourly
    if _reaches_share(number, total, percent, is_on=is_on):
        share = f"{number:,} of {total:,} deliveries for {label(source)}"
        return f"{share} were rejected in the last hour (401/403, limit {percent:g} %)"
    return None


def judge_quarantined(source: str, traffic: Traffic, limit: int, percent: float, now: int, *, is_on: bool) -> str | None:
    """Return what is wrong with the quarantined messages of a source, or None."""
    if not limit:
        return None
    if reaches(traffic.quarantined, limit, is_on=is_on):
        messages = count(traffic.quarantined, "message")
        return f"{messages} of {label(source)} quarantined in the last hour (limit {limit:,})"
    if percent and _lasts(traffic.quarantined_streak, now, is_on=is_on):
        last = f"The last {count(traffic.quarantined_streak.number, 'message')} of {label(source)}"
        return f"{last} were all quarantined, since {minute(traffic.quarantined_streak.since)}"
    if _reaches_share(traffic.quarantined, traffic.messages, percent, is_on=is_on):
        share = f"{traffic.quarantined:,} of {count(traffic.messages, 'message')} of {label(source)}"
        return f"{share} quarantined in the last hour (limit {percent:g} %)"
    return None


def judge_stale(source: str, traffic: Traffic, percent: float, *, is_on: bool) -> str | None:
    """Return what is wrong with the stale messages of a source, or None. A source with few messages is judged by its last day."""
    hourly, daily = traffic.stale + traffic.applied, traffic.stale_daily + traffic.applied_daily
    windows = [("hour", traffic.stale, hourly, _STALE_FROM)]
    if max(hourly, traffic.busiest_hour) < _STALE_FROM:
        windows.append(("24 hours", traffic.stale_daily, daily, _STALE_FROM_DAILY))
    for window, stale, messages, from_messages in windows:
        share = 100 * stale / messages if messages else 0.0
        if reaches(messages, from_messages, is_on=is_on) and reaches(share, percent, is_on=is_on):
            late = f"{share:.0f} % of {messages:,} messages of {label(source)}"
            return f"{late} arrived out of date in the last {window} (limit {percent:g} %)"
    return None


def reaches(number: float, limit: float, *, is_on: bool) -> bool:
    """Return whether a number reaches its limit, or half of it if the alarm is on. A limit of 0 is never reached."""
    return limit > 0 and number >= (limit / 2 if is_on else limit)


def minute(moment: int) -> str:
    """Return a time up to the minute: `2026-11-26T12:00Z`."""
    return f"{iso(moment)[:16]}Z"


def _lasts(streak: Streak, now: int, *, is_on: bool) -> bool:
    """Return whether a streak is an alarm. None begins shortly after a good delivery: a busy source has a few among many."""
    is_recent = streak.good_at is not None and now - streak.good_at < REFUSED_WINDOW
    return reaches(streak.number, MIN_STREAK, is_on=is_on) and (is_on or not is_recent)


def _reaches_share(number: int, total: int, percent: float, *, is_on: bool) -> bool:
    share = 100 * number / total if total else 0.0
    return reaches(number, MIN_STREAK, is_on=is_on) and reaches(share, percent, is_on=is_on)
