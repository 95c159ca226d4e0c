"""Statistics: numbers of deliveries and messages, their lag, and sizes.

They are read from the hourly counts, so that a busy month costs no more than a quiet day.
"""

from collections import defaultdict
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, exists, func, select

from receiver.clock import first_id, iso
from receiver.domain.occurrence import to_sortable_micros
from receiver.domain.records import DOWNLOAD, WEBHOOK
from receiver.storage.counters import DOWNLOADED, HOUR_SECONDS, NUMBERS, find_counted_span
from receiver.storage.database import Database
from receiver.storage.queries.refusals import list_unknown_paths, sum_refusals
from receiver.storage.tables.ledger import DeliveryTable, EventTable, MessageTable, TrackerTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import HourlyCountTable

_SAMPLE = 200  # the last deliveries of a window, from which the lag is computed
_LOOKED_AT = 1000  # the newest deliveries of a source, among which those that count are searched
_SAMPLED_TRACKERS = 1000
_SECOND = 1_000_000


class Cell(NamedTuple):
    """The counts of one span for one source, outcome and code. `numbers` has the keys of NUMBERS."""

    begins_at: int
    source: str
    outcome: str
    code: str
    numbers: dict[str, int]

    @property
    def is_download(self) -> bool:
        """Tell whether these are accepted downloads of the customer list."""
        return self.code == DOWNLOADED


class CountedWindow(NamedTuple):
    """A window that begins with a whole span of counts. Times are microseconds."""

    span_seconds: int
    begins_at: int
    until: int


def read_tallies(database: Database, since: int, until: int, *, now: int) -> list[Cell]:
    """Return the counts between two times in microseconds: by minute if minutes are still stored, otherwise by hour.

    The spans that contain `since` and `until` count as a whole.
    """
    with database.read() as connection:
        return _read_cells(connection, _widen(since, until, now), by_span=True)


def count_refusals(database: Database, since: int, until: int, *, now: int) -> list[dict[str, Any]]:
    """Return the rejected deliveries between two times in microseconds by source, code and cause (`refusals.sum_refusals`)."""
    window = _widen(since, until, now)
    with database.read() as connection:
        return _sum_refusals(connection, _read_cells(connection, window, by_span=False), window)


def sum_tallies(database: Database, since: int, until: int, *, now: int) -> list[Cell]:
    """Return the counts between two times in microseconds by source, outcome and code, as `read_tallies` takes them."""
    with database.read() as connection:
        return _read_cells(connection, _widen(since, until, now), by_span=False)


def show_statistics(
    database: Database, window: str, since: int, until: int, sources: tuple[str, ...], *, now: int
) -> dict[str, Any]:
    """Return counts by source and outcome, rates, lag, last deliveries and sizes. `window` is the name of the span, as asked for.

    Times are microseconds. `since` is moved to the start of its minute or hour.
    """
    sized = [table_of(MessageTable), table_of(EventTable), table_of(TrackerTable)]
    counted = _widen(since, until, now)
    since = counted.begins_at
    with database.read() as connection:
        cells = _read_cells(connection, counted, by_span=False)
        seconds = (until - since) / _SECOND
        found = {
            source: {
                **_sum([cell for cell in cells if cell.source == source], seconds),
                "last_delivery_at": read_last_delivery(connection, source),
                "lag": read_lag(connection, source, since, until),
            }
            for source in sources
        }
        refusals = _sum_refusals(connection, cells, counted)
        deliveries = _count_deliveries(connection)
    return {
        "window": window,
        "since": iso(since),
        "until": iso(until),
        "sources": found,
        "refusals": refusals,
        "unknown_paths": list_unknown_paths(database, since),
        "database_bytes": database.size_bytes(),
        "rows": {"deliveries": deliveries, **{str(table.name): database.estimate_rows(table) for table in sized}},
    }


def find_first_accepted(database: Database) -> int | None:
    """Return the start of the hour of the first accepted delivery, in microseconds, or None.

    A test is none, and neither is a download of the customer list.
    """
    table = table_of(HourlyCountTable)
    counted = table.c.span_seconds == HOUR_SECONDS, *_is_accepted(table)
    with database.read() as connection:
        found = connection.execute(select(func.min(table.c.begins_at)).where(*counted)).scalar()
    return None if found is None else int(found)


def read_last_delivery(connection: Connection, source: str) -> str | None:
    """Return the time of the last accepted delivery of a source. Tests, imports and downloads of the customer list are none.

    If its newest deliveries were all rejected, this is the start of the minute or hour that counted the last accepted one.
    """
    table, tallies = table_of(DeliveryTable), table_of(HourlyCountTable)
    columns = [table.c[name] for name in ("received_at", "outcome", "test_run", "origin", "kind")]
    newest = select(*columns).where(table.c.source == source).order_by(table.c.id.desc())
    looked_at = newest.limit(_LOOKED_AT).subquery()
    is_webhook = looked_at.c.origin == WEBHOOK, looked_at.c.kind != DOWNLOAD
    real = looked_at.c.outcome == "accepted", looked_at.c.test_run.is_(None), *is_webhook
    found = connection.execute(select(func.max(looked_at.c.received_at)).where(*real)).scalar()
    if found is None:
        counted = tallies.c.source == source, *_is_accepted(tallies)
        found = connection.execute(select(func.max(tallies.c.begins_at)).where(*counted)).scalar()
    return None if found is None else iso(found)


def _is_accepted(counts: Table) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for counts of accepted deliveries. A download of the customer list is none."""
    return counts.c.outcome == "accepted", counts.c.code != DOWNLOADED, counts.c.calls > 0


def read_lag(connection: Connection, source: str, since: int, until: int) -> dict[str, float | int | None]:
    """Return the time between the occurrence of events and their arrival, in seconds. A time without a zone counts as UTC.

    The last deliveries of the window are the sample, without tests and imports. Of each tracker that they changed, only its
    latest event counts: older events that come with a new tracker are not late, and the events of a timeline are far apart on
    the disk.
    """
    deliveries, messages = table_of(DeliveryTable), table_of(MessageTable)
    trackers, events = table_of(TrackerTable), table_of(EventTable)
    inside = deliveries.c.id >= first_id(since), deliveries.c.id < first_id(until)
    last = select(deliveries.c.id, deliveries.c.test_run, deliveries.c.origin).where(deliveries.c.source == source, *inside)
    looked_at = last.order_by(deliveries.c.id.desc()).limit(_LOOKED_AT).subquery()
    real = select(looked_at.c.id).where(looked_at.c.test_run.is_(None), looked_at.c.origin == WEBHOOK)
    sample = real.order_by(looked_at.c.id.desc()).limit(_SAMPLE).subquery()
    applied = and_(messages.c.delivery_id == sample.c.id, messages.c.outcome == "applied")
    changed = select(messages.c.source, messages.c.tracker_id).select_from(sample).join(messages, applied).distinct()
    some = changed.limit(_SAMPLED_TRACKERS).subquery()
    of_tracker = and_(trackers.c.source == some.c.source, trackers.c.tracker_id == some.c.tracker_id)
    latest = and_(
        events.c.source == trackers.c.source,
        events.c.tracker_id == trackers.c.tracker_id,
        events.c.event_id == trackers.c.latest_event_id,
    )
    statement = select(events.c.occurrence, events.c.received_at).select_from(some).join(trackers, of_tracker)
    statement = statement.join(events, latest).where(events.c.basis == "courier", events.c.received_at < until)
    statement = statement.where(~_is_brought_in(events))
    times = [(to_sortable_micros(row.occurrence), row.received_at) for row in connection.execute(statement)]
    lags = sorted((received - occurred) / _SECOND for occurred, received in times if occurred is not None)
    return {"events": len(lags), **{f"p{share}_seconds": _percentile(lags, share) for share in (50, 90, 99)}}


def _is_brought_in(events: Table) -> ColumnElement[bool]:
    """Return the condition for events whose first delivery no sender made."""
    messages, deliveries = table_of(MessageTable), table_of(DeliveryTable)
    own = and_(messages.c.source == events.c.source, messages.c.message_id == events.c.message_id)
    return exists().where(own, deliveries.c.id == messages.c.delivery_id, deliveries.c.origin != WEBHOOK)


def _sum_refusals(connection: Connection, cells: list[Cell], window: CountedWindow) -> list[dict[str, Any]]:
    counted = [(cell.source, cell.outcome, cell.code, cell.numbers["calls"]) for cell in cells]
    return sum_refusals(connection, counted, window.begins_at, window.until)


def _read_cells(connection: Connection, window: CountedWindow, *, by_span: bool) -> list[Cell]:
    table = table_of(HourlyCountTable)
    by = [*([table.c.begins_at] if by_span else []), table.c.source, table.c.outcome, table.c.code]
    sums = [func.sum(table.c[name]).label(name) for name in NUMBERS]
    spans = table.c.begins_at >= window.begins_at, table.c.begins_at < window.until
    counted = table.c.span_seconds == window.span_seconds, *spans
    rows = connection.execute(select(*by, *sums).where(*counted).group_by(*by).order_by(*by)).mappings()
    return [
        Cell(
            row.get("begins_at", window.begins_at),
            row["source"],
            row["outcome"],
            row["code"],
            {name: int(row[name]) for name in NUMBERS},
        )
        for row in rows
    ]


def _count_deliveries(connection: Connection) -> int:
    table = table_of(HourlyCountTable)
    recorded = select(func.sum(table.c.calls - table.c.unrecorded)).where(table.c.span_seconds == HOUR_SECONDS)
    return int(connection.execute(recorded).scalar() or 0)


def _widen(since: int, until: int, now: int) -> CountedWindow:
    seconds = find_counted_span(since, now)
    return CountedWindow(seconds, since - since % (seconds * _SECOND), until)


def _sum(cells: list[Cell], seconds: float) -> dict[str, Any]:
    totals: dict[str, int] = dict.fromkeys(NUMBERS, 0)
    outcomes: dict[str, int] = dict.fromkeys(("accepted", "refused", "unreadable", "failed"), 0)
    codes: dict[str, int] = defaultdict(int)
    for cell in cells:
        outcomes[cell.outcome] += cell.numbers["calls"]
        if cell.code and not cell.is_download:
            codes[cell.code] += cell.numbers["calls"]
        for name, number in cell.numbers.items():
            totals[name] += number
    deliveries = totals.pop("calls")
    rate = {"deliveries_per_second": round(deliveries / max(seconds, 1), 3)}
    return {"deliveries": deliveries, **totals, "outcomes": outcomes, "codes": dict(codes), **rate}


def _percentile(sorted_values: list[float], share: int) -> float | None:
    if not sorted_values:
        return None
    return round(sorted_values[min(len(sorted_values) - 1, len(sorted_values) * share // 100)], 1)
