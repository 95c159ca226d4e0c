"""Times as people type them in filters and options: a time of day, a day, an age or ISO 8601. Pure."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from receiver import clock

FORMS = "2026-01-31T12:00:00Z, 2026-01-31 12:00, 2026-01-31, 14:03, today, yesterday 14:03, or an age (90m, 24h, 7d ago)"

_SPAN = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DAY_AND_TIME = re.compile(r"(today|yesterday)?(?:(?:^| )(\d\d?:\d\d(?::\d\d)?))?", re.ASCII)
_DAYS_AGO = {"today": 0, "yesterday": 1}


def read_time_input(text: str, now: datetime, zone: tzinfo) -> int:
    """Return a typed time in microseconds since 1970. Raises ValueError that lists the forms.

    A time without its own zone is in `zone`. A time of day alone is today's, a day alone is its start. When clocks go back, a
    time that comes twice is the first one; when they go forward, a time that does not come is read as if they had not moved.
    """
    try:
        moment = _read(text.lower(), now, zone)
        return max(0, clock.to_micros(moment.astimezone(UTC)))  # nothing was received before 1970
    except (ValueError, OverflowError):
        raise ValueError(f"expected a time such as {FORMS}") from None


def read_span(text: str) -> timedelta:
    """Return the time span of a text such as `24h`. Raises ValueError or OverflowError."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError("expected a time span such as 90m, 24h or 7d")
    return timedelta(seconds=int(found[1]) * _UNIT_SECONDS[found[2]])


def _read(text: str, now: datetime, zone: tzinfo) -> datetime:
    span = text.removesuffix(" ago")
    if _SPAN.fullmatch(span):
        return now - read_span(span)
    found = _DAY_AND_TIME.fullmatch(text)
    if text and found is not None:
        day = now.astimezone(zone).date() - timedelta(days=_DAYS_AGO[found[1] or "today"])
        hour, _, rest = (found[2] or "00:00").partition(":")
        text = f"{day} {hour:0>2}:{rest}"
    moment = clock.read_iso(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
