"""When receivers ran, what became of deliveries, and when sources were silent: the facts from which downtimes follow."""

from collections import defaultdict
from datetime import datetime

from sqlalchemy import select

from receiver.clock import to_micros
from receiver.domain.downtime import Downtime, ServiceSpan, TrafficSpan
from receiver.storage.counters import HOUR_SECONDS, KEPT_SECONDS, MINUTE_SECONDS
from receiver.storage.database import Database
from receiver.storage.queries.service import list_alarms
from receiver.storage.queries.statistics import read_tallies
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.recovery import ServiceSpanTable

_SECOND = 1_000_000
_MINUTES = (KEPT_SECONDS[MINUTE_SECONDS] - HOUR_SECONDS) * _SECOND  # the time of which minutes are certainly still stored
_REJECTED = {"unauthorized", "address_not_allowed"}
_FAILED = {"storage_unavailable", "busy"}


def read_service_spans(database: Database, since: int) -> list[ServiceSpan]:
    """Return the spans of all receivers that ran after `since`, and of the last one before it."""
    spans = table_of(ServiceSpanTable)
    columns = select(spans.c.began_at, spans.c.seen_at)
    with database.read() as connection:
        after = connection.execute(columns.where(spans.c.seen_at >= since)).all()
        before = connection.execute(columns.where(spans.c.seen_at < since).order_by(spans.c.seen_at.desc()).limit(1)).all()
    return [ServiceSpan(*row) for row in (*before, *after)]


def read_traffic_spans(database: Database, since: int, now: int) -> list[TrafficSpan]:
    """Return the deliveries since then by source: each minute of the last days, and each hour before."""
    if now - since <= _MINUTES:
        return _read_spans(database, since, now, MINUTE_SECONDS)
    begins_at = now - _MINUTES
    begins_at += -begins_at % (HOUR_SECONDS * _SECOND)
    hours = [span for span in _read_spans(database, since, now, HOUR_SECONDS) if span.began_at < begins_at]
    return [*hours, *_read_spans(database, begins_at, now, MINUTE_SECONDS)]


def read_silences(database: Database, since: int) -> list[Downtime]:
    """Return the last silence of each source, unless it ended before `since`."""
    found = []
    for alarm in list_alarms(database):
        ended_at = None if alarm["ended_at"] is None else _micros(alarm["ended_at"])
        if alarm["name"] == "silence" and (ended_at is None or ended_at >= since):
            found.append(Downtime(_micros(alarm["began_at"]), ended_at, "silent", alarm["subject"]))
    return found


def _read_spans(database: Database, since: int, until: int, seconds: int) -> list[TrafficSpan]:
    """Return the spans of this length; `read_tallies` has minutes for a window of up to `_MINUTES`, and otherwise hours."""
    counts: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for cell in read_tallies(database, since, until):
        column = 0 if cell.outcome == "accepted" else 1 if cell.code in _REJECTED else 2 if cell.code in _FAILED else None
        if column is not None:
            counts[cell.begins_at, cell.source][column] += cell.numbers["calls"]
    return [TrafficSpan(at, at + seconds * _SECOND, source, *numbers) for (at, source), numbers in counts.items()]


def _micros(text: str) -> int:
    return to_micros(datetime.fromisoformat(text))
