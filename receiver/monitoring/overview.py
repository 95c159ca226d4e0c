"""The overview: what needs the attention of an operator now, for the console, the API and the commands."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from receiver.clock import to_micros
from receiver.domain.concerns import (
    WINDOW_MICROS,
    Concern,
    Rejections,
    ServiceFacts,
    SourceTraffic,
    find_concerns,
    read_status,
)
from receiver.errors import NotFound
from receiver.storage import queries
from receiver.storage.database import Database

_MINUTE = 60_000_000


class Overview(NamedTuple):
    """The concerns, the worst first, and the status that follows from them: `ok`, `note`, `warning` or `alarm`."""

    status: str
    concerns: Sequence[Concern]

    def as_json(self) -> dict[str, Any]:
        """Return the overview as the API shows it."""
        return {"status": self.status, "concerns": [concern._asdict() for concern in self.concerns]}


def read_overview(database: Database, sources: Collection[str], now: datetime) -> Overview:
    """Return the concerns of now. `sources` are the names of those that are on."""
    until = to_micros(now)
    concerns = find_concerns(_read_facts(database, sources, until), until)
    return Overview(read_status(concerns), concerns)


def _read_facts(database: Database, sources: Collection[str], now: int) -> ServiceFacts:
    window = now - WINDOW_MICROS, now + _MINUTE
    cells = [cell for cell in queries.sum_tallies(database, *window, now=now) if not cell.is_download]
    refusals = queries.count_refusals(database, *window, now=now)
    return ServiceFacts(
        {source: _read_traffic(database, source, cells, refusals, now) for source in sources},
        queries.list_alarms(database, only_on=True),
        queries.list_unknown_paths(database, now - WINDOW_MICROS),
        queries.show_targets(database),
        queries.count_quarantined(database),
        queries.MAX_QUARANTINED,
        queries.setup_windows(database),
    )


def _read_traffic(
    database: Database, source: str, cells: Sequence[queries.Cell], refusals: Sequence[dict[str, Any]], now: int
) -> SourceTraffic:
    """Read the traffic of a source. Deliveries to unknown paths have concerns of their own and do not count as rejected."""
    with database.read() as connection:
        last = queries.read_last_delivery(connection, source)
    last_accepted_at = None if last is None else to_micros(datetime.fromisoformat(last))
    rejected = [
        Rejections(refusal["code"], refusal["deliveries"], refusal["cause"], refusal["advice"])
        for refusal in refusals
        if refusal["source"] == source and refusal["code"] != NotFound.code
    ]
    return SourceTraffic(
        sum(cell.numbers["calls"] for cell in cells if cell.source == source),
        _count(cells, source, "accepted"),
        rejected,
        _count_since(database, source, last_accepted_at, now) if rejected else 0,
        _count(cells, source, "unreadable"),
        _count(cells, source, "failed"),
        last_accepted_at,
    )


def _count_since(database: Database, source: str, last_accepted_at: int | None, now: int) -> int:
    """Count the rejected deliveries after the minute of the last accepted one."""
    window_began = now - WINDOW_MICROS
    since = (
        window_began if last_accepted_at is None else max(window_began, last_accepted_at - last_accepted_at % _MINUTE + _MINUTE)
    )
    if since > now:
        return 0
    cells = [cell for cell in queries.sum_tallies(database, since, now + _MINUTE, now=now) if cell.code != NotFound.code]
    return _count(cells, source, "refused")


def _count(cells: Sequence[queries.Cell], source: str, outcome: str) -> int:
    return sum(cell.numbers["calls"] for cell in cells if cell.source == source and cell.outcome == outcome)
