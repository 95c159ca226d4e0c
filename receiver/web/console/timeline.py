"""A tracker's timeline: each event with its delay and its repetitions, and what arrived out of order. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from receiver.clock import to_micros
from receiver.domain.occurrence import read_occurrence, to_sortable_micros
from receiver.web.console.charts import OrderChart, TimedEvent, draw_order

_LATE_SECONDS = 86_400  # more than time zones differ, so that an unknown zone alone never makes an event late
_SECOND = 1_000_000


class TimelineEntry(NamedTuple):
    """One event with its delay.

    `precision` says how exact its time is: `instant`, `wall` (no time zone), `day` (date only), or `arrival` (no time at all, so
    `lag_seconds` is None). `copies` are further deliveries of its message.
    """

    event: Mapping[str, Any]
    precision: str
    lag_seconds: float | None
    is_late: bool
    copies: tuple[Mapping[str, Any], ...]


class Timeline(NamedTuple):
    """Entries, newest occurrence first; messages without a new event, newest first; the chart; and counts for the legend."""

    entries: tuple[TimelineEntry, ...]
    eventless: tuple[Mapping[str, Any], ...]
    order: OrderChart
    numbers: dict[str, int]


def make_timeline(events: Sequence[Mapping[str, Any]], copies: Iterable[Mapping[str, Any]]) -> Timeline:
    """Join events with the further copies of their messages."""
    copies_of: dict[str, list[Mapping[str, Any]]] = {}
    for copy in copies:
        copies_of.setdefault(str(copy["message_id"]), []).append(copy)
    entries = [_make_entry(event, tuple(copies_of.get(event["message_id"], ()))) for event in events]
    known = {event["message_id"] for event in events}
    eventless = tuple(copy for message_id, same in copies_of.items() if message_id not in known for copy in same)
    timed = [
        TimedEvent(at - round(entry.lag_seconds * _SECOND), at, entry.event["outcome"], entry.is_late)
        for entry in entries
        if entry.lag_seconds is not None and (at := _micros(entry.event["received_at"]))
    ]
    return Timeline(tuple(entries), eventless, draw_order(timed), _count(entries, eventless))


def _make_entry(event: Mapping[str, Any], copies: tuple[Mapping[str, Any], ...]) -> TimelineEntry:
    lag_seconds, precision = _read_lag(event)
    return TimelineEntry(event, precision, lag_seconds, lag_seconds is not None and lag_seconds >= _LATE_SECONDS, copies)


def _read_lag(event: Mapping[str, Any]) -> tuple[float | None, str]:
    """Return the delay in seconds and the precision of the time. A time without a zone is read as UTC."""
    occurred_at = to_sortable_micros(event["occurrence"])
    if event["basis"] != "courier" or occurred_at is None:
        return None, "arrival"
    occurrence = read_occurrence(event["occurrence"])
    precision = "day" if occurrence.wall is None else "wall" if occurrence.instant is None else "instant"
    return (_micros(event["received_at"]) - occurred_at) / _SECOND, precision


def _micros(moment: str) -> int:
    return to_micros(datetime.fromisoformat(moment))


def _count(entries: Sequence[TimelineEntry], eventless: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    outcomes = [entry.event["outcome"] for entry in entries]
    return {
        "applied": outcomes.count("applied"),
        "stale": outcomes.count("stale"),
        "late": sum(entry.is_late for entry in entries),
        "duplicate": len({id(copy) for entry in entries for copy in entry.copies}) + len(eventless),
    }
