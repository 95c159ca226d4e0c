"""A tracker's timeline for people: each event with its delay, and how often it was told again. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from receiver.clock import to_micros
from receiver.domain.occurrence import read_occurrence, to_sortable_micros
from receiver.web.console.charts import Weave, weave

LATE_SECONDS = 86_400
"""From this delay on an event is called late; a day is longer than time zones are apart, so one without a zone is late too."""

_SECOND = 1_000_000


class Entry(NamedTuple):
    """One event: `form` says what its time lacks, `lag_seconds` how long after it the event arrived (None: no courier's time)."""

    event: Mapping[str, Any]
    form: str
    lag_seconds: float | None
    late: bool
    copies: tuple[Mapping[str, Any], ...]


class Timeline(NamedTuple):
    """Events, newest occurrence first; messages that added none, newest first; and the drawing of both times."""

    entries: tuple[Entry, ...]
    silent: tuple[Mapping[str, Any], ...]
    weave: Weave | None
    numbers: dict[str, int]


def read_timeline(events: Sequence[Mapping[str, Any]], copies: Iterable[Mapping[str, Any]]) -> Timeline:
    """Put events and further copies of their messages together."""
    told: dict[str, list[Mapping[str, Any]]] = {}
    for copy in copies:
        told.setdefault(str(copy["message_id"]), []).append(copy)
    entries = []
    for event in events:
        lag, form = _read_lag(event)
        late = lag is not None and lag >= LATE_SECONDS
        entries.append(Entry(event, form, lag, late, tuple(told.get(event["message_id"], ()))))
    known = {event["message_id"] for event in events}
    silent = tuple(copy for message_id, of_message in told.items() if message_id not in known for copy in of_message)
    drawn = [
        (_micros(entry.event["received_at"]) - round(entry.lag_seconds * _SECOND), _micros(entry.event["received_at"]),
         entry.event["outcome"], entry.late)
        for entry in entries
        if entry.lag_seconds is not None
    ]  # fmt: skip
    return Timeline(tuple(entries), silent, weave(drawn), _count(entries, silent))


def _read_lag(event: Mapping[str, Any]) -> tuple[float | None, str]:
    """Return the delay in seconds, a time without a zone being read as UTC, and what the time lacks."""
    occurred = to_sortable_micros(event["occurrence"])
    if event["basis"] != "courier" or occurred is None:
        return None, "arrival"
    occurrence = read_occurrence(event["occurrence"])
    form = "day" if occurrence.wall is None else "wall" if occurrence.instant is None else "instant"
    return (_micros(event["received_at"]) - occurred) / _SECOND, form


def _micros(moment: str) -> int:
    return to_micros(datetime.fromisoformat(moment))


def _count(entries: Sequence[Entry], silent: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    outcomes = [entry.event["outcome"] for entry in entries]
    return {
        "applied": outcomes.count("applied"),
        "stale": outcomes.count("stale"),
        "late": sum(entry.late for entry in entries),
        "duplicate": len({id(copy) for entry in entries for copy in entry.copies}) + len(silent),
    }
