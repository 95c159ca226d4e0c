"""The overview: incoming messages and requests, sources and their delay, and everything that needs attention."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from receiver.access.bearer import AddressPolicy
from receiver.clock import to_micros
from receiver.domain.concerns import Concern
from receiver.domain.first_steps import SourceSetup, list_first_steps
from receiver.domain.verdicts import OUTCOMES
from receiver.errors import AddressNotAllowed
from receiver.monitoring.overview import read_overview
from receiver.relay.assembly import ConfiguredTarget
from receiver.settings import Settings
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries import Cell
from receiver.web.console.charts import LAG_MARKS, draw_columns, draw_lag
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page
from receiver.web.console.time_ranges import RANGES, read_range

_NOT_ACCEPTED = ("refused", "unreadable", "failed")
_WINDOW = "/ops/settings/setup-window"
_PAGES = {  # the link of a concern; `{source}` is its subject
    "refused": ("Rejected deliveries", "/ops/deliveries?outcome=refused&source={source}"),
    "unknown_path": ("Webhook URLs", "/ops/settings"),
    "failed": ("Failed deliveries", "/ops/deliveries?outcome=failed&source={source}"),
    "unreadable": ("Invalid deliveries", "/ops/deliveries?outcome=unreadable&source={source}"),
    "silence": ("Deliveries", "/ops/deliveries?source={source}"),
    "target": ("Targets", "/ops/targets#target-{source}"),
    "dead": ("Targets", "/ops/targets#target-{source}"),
    "quarantined": ("Quarantine", "/ops/quarantine"),
    "quarantine": ("Quarantine", "/ops/quarantine?source={source}"),
    "undecidable": ("Quarantine", "/ops/quarantine?source={source}"),
    "stale": ("Trackers", "/ops/trackers?source={source}"),
    "token": ("Settings", "/ops/settings"),
    "notices": ("Alarm notices", "/ops/settings#notices"),
    "no_delivery": ("Webhook URLs", "/ops/settings"),
    "setup_window": ("Close …", f"{_WINDOW}/{{source}}"),
}


class Button(NamedTuple):
    """A link to the page that helps with a concern."""

    words: str
    url: str


def show_overview(
    settings: Settings, database: Database, targets: Sequence[ConfiguredTarget], page_request: ConsoleRequest
) -> Page:
    """Show the overview of the time range in the query. Raises UnexpectedShape for a range that cannot be read."""
    filters = dict(page_request.query)
    zone = page_request.zone.info
    span = read_range(filters, page_request.now, zone)
    since, until = span.edges[0], span.edges[-1]
    now = to_micros(page_request.now)
    statistics = queries.show_statistics(database, span.name, since, until, NAMES, now=now)
    cells = queries.read_tallies(database, since, until, now=now)
    overview = read_overview(database, settings.active_sources(), page_request.now)
    deliveries = count_deliveries(cells)
    top = max(draw_columns(span.edges, series, deliveries).top for series in (("accepted",), _NOT_ACCEPTED))
    setups = _list_setups(settings, database, statistics["sources"], cells, page_request)
    values = {
        "span": span,
        "spans": RANGES,
        "filters": filters,
        "accepted": draw_columns(span.edges, ("accepted",), deliveries, top, zone),
        "not_accepted": draw_columns(span.edges, _NOT_ACCEPTED, deliveries, top, zone),
        "results": draw_columns(span.edges, OUTCOMES, count_messages(cells), zone=zone),
        "sources": [_describe(settings, source, statistics["sources"][source]) for source in NAMES],
        "lag_marks": LAG_MARKS,
        "statistics": statistics,
        "steps": list_first_steps(setups, queries.find_first_accepted(database), now),
        "setups": setups,
        "has_targets": bool(targets),
        "concerns": [(concern, list_buttons(concern)) for concern in overview.concerns],
    }
    return Page("overview.html", "overview", values)


def list_buttons(concern: Concern) -> list[Button]:
    """Return the links to the pages that help with a concern, the most useful one last."""
    source = concern.subject.partition(" ")[0]
    found = []
    if concern.kind in _PAGES:
        words, url = _PAGES[concern.kind]
        found.append(Button(words, url.format(source=source)))
    if AddressNotAllowed.code in concern.codes:
        found.append(Button("Open setup window …", f"{_WINDOW}/{source}"))
    return found


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


def _list_setups(
    settings: Settings,
    database: Database,
    statistics: Mapping[str, Mapping[str, Any]],
    cells: Sequence[Cell],
    page_request: ConsoleRequest,
) -> list[SourceSetup]:
    """Return the sources that are on, with the addresses that lead to this service as the browser sees it."""
    windows = queries.setup_windows(database)
    return [
        SourceSetup(
            name,
            tuple(page_request.base_url + source.path for source in settings.sources() if source.name == name),
            sum(cell.numbers["calls"] for cell in cells if cell.source == name and not cell.is_download),
            statistics[name]["last_delivery_at"] is not None,
            settings.access_policy(name).policy is AddressPolicy.ENFORCE,
            windows.get(name, 0),
        )
        for name in NAMES
        if settings.access_policy(name).tokens
    ]


def _describe(settings: Settings, source: str, counted: Mapping[str, Any]) -> dict[str, Any]:
    access_policy, lag = settings.access_policy(source), counted["lag"]
    chart = draw_lag(lag["p50_seconds"], lag["p90_seconds"], lag["p99_seconds"]) if lag["events"] else None
    return {"name": source, "on": bool(access_policy.tokens), **counted, "lag_chart": chart}
