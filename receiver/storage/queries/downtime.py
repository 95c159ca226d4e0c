"""When receivers ran, what became of deliveries, and when sources were silent: the facts from which downtimes follow."""

from collections import defaultdict
from datetime import datetime

from sqlalchemy import select

from receiver.clock import to_micros
from receiver.domain.downtime import Downtime, ServiceSpan, TrafficSpan
from receiver.storage.counters import COUNTED_BY_MINUTE_SECONDS, HOUR_SECONDS, find_counted_span
from receiver.storage.database import Database
from receiver.storage.queries.service import list_alarms
from receiver.storage.queries.statistics import read_tallies
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.recovery import ServiceSpanTable

_SECOND = 1_000_000
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
    begins_at = now - COUNTED_BY_MINUTE_SECONDS * _SECOND
    begins_at += -begins_at % (HOUR_SECONDS * _SECOND)
    hours = _read_spans(database, since, begins_at, now) if since < begins_at else []
    return [*hours, *_read_spans(database, max(since, begins_at), now, now)]


def read_silences(database: Database, since: int) -> list[Downtime]:
    """Return the last silence of each source, unless it ended before `since`."""
    found = []
    for alarm in list_alarms(database):
        ended_at = None if alarm["ended_at"] is None else _micros(alarm["ended_at"])
        if alarm["name"] == "silence" and (ended_at is None or ended_at >= since):
            found.append(Downtime(_micros(alarm["began_at"]), ended_at, "silent", alarm["subject"]))
    return found


def _read_spans(database: Database, since: int, until: int, now: int) -> list[TrafficSpan]:
    length = find_counted_span(since, now) * _SECOND
    counts: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for cell in read_tallies(database, since, until, now=now):
        is_accepted = cell.outcome == "accepted" and not cell.is_download
        column = 0 if is_accepted else 1 if cell.code in _REJECTED else 2 if cell.code in _FAILED else None
        if column is not None:
            counts[cell.begins_at, cell.source][column] += cell.numbers["calls"]
    return [TrafficSpan(at, at + length, source, *numbers) for (at, source), numbers in counts.items()]


def _micros(text: str) -> int:
    return to_micros(datetime.fromisoformat(text))
