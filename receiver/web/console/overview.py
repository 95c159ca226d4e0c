"""The overview: incoming messages and requests, sources and their delay, and everything that needs attention."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from receiver.clock import to_micros
from receiver.domain.labels import count, label
from receiver.domain.verdicts import OUTCOMES
from receiver.settings import Settings
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries import Cell
from receiver.web.console.charts import LAG_MARKS, RANGES, ChartRange, draw_columns, draw_lag
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page

_NOT_ACCEPTED = ("refused", "unreadable", "failed")
_SETTINGS = "/ops/settings"
_ALARM_PAGES = {  # the page to open for an alarm; it replaces the concern that leads to the same page
    "silence": "/ops/deliveries",
    "refused": "/ops/deliveries?outcome=refused",
    "quarantine": "/ops/quarantine",
    "undecidable": "/ops/quarantine",
    "stale": "/ops/trackers",
    "token": _SETTINGS,
}
_MIN_REFUSED = 20  # rejected deliveries are a concern from this number on, if they are also this share of all
_MIN_REFUSED_SHARE = 0.05


class Concern(NamedTuple):
    """Something that needs attention. `weight` is `alarm`, `warning` or `note`; the moment `at` ends the text."""

    weight: str
    title: str
    text: str
    url: str | None
    at: int | str | None = None


def show_overview(settings: Settings, database: Database, page_request: ConsoleRequest) -> Page:
    """Show the overview of the time range in the query."""
    name = dict(page_request.query).get("window")
    span = next((span for span in RANGES if span.name == name), RANGES[1])
    now = to_micros(page_request.now)
    since, until = span.edges(now)
    statistics = queries.show_statistics(database, span.name, since, until, NAMES)
    cells = queries.read_tallies(database, since, until)
    alarms = queries.list_alarms(database, only_on=True)
    values = {
        "span": span,
        "spans": RANGES,
        "accepted": draw_columns(span, now, ("accepted",), count_deliveries(cells)),
        "not_accepted": draw_columns(span, now, _NOT_ACCEPTED, count_deliveries(cells)),
        "results": draw_columns(span, now, OUTCOMES, count_messages(cells)),
        "sources": [_describe(settings, source, statistics["sources"][source]) for source in NAMES],
        "lag_marks": LAG_MARKS,
        "statistics": statistics,
        "concerns": list_concerns(alarms, cells, span, queries.setup_windows(database), now),
    }
    return Page("overview.html", "overview", values)


def list_concerns(
    alarms: Iterable[Mapping[str, Any]], cells: Iterable[Cell], span: ChartRange, closes_at: Mapping[str, int], now: int
) -> list[Concern]:
    """Return the alarms that are on, the other concerns from the counts, and the setup windows that are open at `now`."""
    alarmed = [
        Concern("alarm", alarm["message"], "Since", _ALARM_PAGES.get(alarm["name"]), alarm["began_at"]) for alarm in alarms
    ]
    known = {concern.url for concern in alarmed}
    open_windows = [
        Concern("note", f"The setup window of {label(source)} is open", "Until", _SETTINGS, at)
        for source, at in sorted(closes_at.items())
        if at > now
    ]
    return [*alarmed, *(concern for concern in find_concerns(cells, span) if concern.url not in known), *open_windows]


def find_concerns(cells: Iterable[Cell], span: ChartRange) -> list[Concern]:
    """Return the concerns that follow from the counts of a time range."""
    outcomes, codes, quarantined = Counter[str](), Counter[str](), 0
    for cell in cells:
        outcomes[cell.outcome] += cell.numbers["calls"]
        codes[cell.code] += cell.numbers["calls"] if cell.outcome == "refused" else 0
        quarantined += cell.numbers["quarantined"]
    concerns = []
    last = f"in the last {span.words}"
    if outcomes["failed"]:
        title = f"{_count(outcomes['failed'])} failed {last}"
        concerns.append(Concern("alarm", title, "The senders will retry.", "/ops/deliveries?outcome=failed"))
    refused = outcomes["refused"]
    if refused >= _MIN_REFUSED and refused >= _MIN_REFUSED_SHARE * outcomes.total():
        reasons = ", ".join(f"{label(code)}: {number:,}" for code, number in codes.most_common(3) if number)
        concerns.append(Concern("warning", f"{_count(refused)} rejected {last}", reasons, "/ops/deliveries?outcome=refused"))
    if outcomes["unreadable"]:
        title = f"{_count(outcomes['unreadable'])} with an invalid body {last}"
        concerns.append(Concern("warning", title, "The bodies are stored.", "/ops/deliveries?outcome=unreadable"))
    if quarantined:
        title = f"{count(quarantined, 'message')} quarantined {last}"
        concerns.append(Concern("warning", title, "Open the quarantine to see why.", "/ops/quarantine"))
    return concerns


def count_deliveries(cells: Iterable[Cell]) -> Counter[tuple[int, str]]:
    """Return the number of deliveries by moment and outcome."""
    counted = Counter[tuple[int, str]]()
    for cell in cells:
        counted[cell.begins_at, cell.outcome] += cell.numbers["calls"]
    return counted


def count_messages(cells: Iterable[Cell]) -> Counter[tuple[int, str]]:
    """Return the number of messages by moment and outcome."""
    counted = Counter[tuple[int, str]]()
    for cell in cells:
        for outcome in OUTCOMES:
            counted[cell.begins_at, outcome] += cell.numbers[outcome]
    return counted


def _count(number: int) -> str:
    return count(number, "delivery", "deliveries")


def _describe(settings: Settings, source: str, counted: Mapping[str, Any]) -> dict[str, Any]:
    access_policy, lag = settings.access_policy(source), counted["lag"]
    chart = draw_lag(lag["p50_seconds"], lag["p90_seconds"], lag["p99_seconds"]) if lag["events"] else None
    return {"name": source, "on": bool(access_policy.tokens), **counted, "lag_chart": chart}
