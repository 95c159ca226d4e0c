"""The first page: what came and what became of it, how late, from whom last, and what needs attention."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from receiver.clock import to_micros
from receiver.domain.verdicts import OUTCOMES
from receiver.settings import Settings
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries import Cell
from receiver.web.console.charts import LAG_MARKS, WINDOWS, ChartRange, draw_columns, draw_lag
from receiver.web.console.formatting import write_source, write_words
from receiver.web.console.guard import Visit
from receiver.web.console.pages import Page

_NOT_ACCEPTED = ("refused", "unreadable", "failed")
_SETTINGS = "/ops/settings"
_ALARM_PAGES = {  # where to look when an alarm is on; it then says more than what is counted here
    "silence": "/ops/deliveries",
    "refused": "/ops/deliveries?outcome=refused",
    "quarantine": "/ops/quarantine",
    "undecidable": "/ops/quarantine",
    "stale": "/ops/trackers",
    "token": _SETTINGS,
}
_STORM_CALLS = 20  # refused calls of a window from which on, if they are a twentieth of all, somebody should look
_STORM_SHARE = 0.05


class Concern(NamedTuple):
    """Something that needs attention: how much (`alarm`, `warning` or `note`), in words, where to look; `at` ends the text."""

    weight: str
    title: str
    text: str
    url: str | None
    at: int | str | None = None


class OverviewPage:
    """The page."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def show(self, visit: Visit) -> Page:
        """Show the overview of the window that was asked for."""
        asked = dict(visit.query).get("window")
        window = next((window for window in WINDOWS if window.name == asked), WINDOWS[1])
        now = to_micros(visit.now)
        since, until = window.edges(now)
        statistics = queries.show_statistics(self._database, window.name, since, until, NAMES)
        cells = queries.read_tallies(self._database, since, until)
        values = {
            "section": "overview",
            "window": window,
            "windows": WINDOWS,
            "accepted": draw_columns(window, now, ("accepted",), count_calls(cells)),
            "others": draw_columns(window, now, _NOT_ACCEPTED, count_calls(cells)),
            "verdicts": draw_columns(window, now, OUTCOMES, count_messages(cells)),
            "sources": [self._describe(source, statistics["sources"][source]) for source in NAMES],
            "lag_marks": LAG_MARKS,
            "statistics": statistics,
            "concerns": list_concerns(
                queries.list_alarms(self._database, only_on=True), cells, window, queries.setup_windows(self._database), now
            ),
        }
        return Page("overview.html", values)

    def _describe(self, source: str, counted: Mapping[str, Any]) -> dict[str, Any]:
        access_policy, lag = self._settings.access_policy(source), counted["lag"]
        reach = draw_lag(lag["p50_seconds"], lag["p90_seconds"], lag["p99_seconds"]) if lag["events"] else None
        return {"name": source, "on": bool(access_policy.tokens), "policy": access_policy.policy.value, **counted, "reach": reach}


def list_concerns(
    alarms: Iterable[Mapping[str, Any]], cells: Iterable[Cell], window: ChartRange, closes_at: Mapping[str, int], now: int
) -> list[Concern]:
    """Return the alarms that are on, what the counts say beyond them, and the setup windows that are open at `now`."""
    alarmed = [
        Concern("alarm", alarm["message"], "Since", _ALARM_PAGES.get(alarm["name"]), alarm["began_at"]) for alarm in alarms
    ]
    known = {concern.url for concern in alarmed}
    return [
        *alarmed,
        *(concern for concern in find_concerns(cells, window) if concern.url not in known),
        *(
            Concern("note", f"The setup window of {write_source(source)} is open", "Until", _SETTINGS, at)
            for source, at in sorted(closes_at.items())
            if at > now
        ),
    ]


def find_concerns(cells: Iterable[Cell], window: ChartRange) -> list[Concern]:
    """Return what the counts of a window say that somebody should look at."""
    outcomes, codes, quarantined = Counter[str](), Counter[str](), 0
    for cell in cells:
        outcomes[cell.outcome] += cell.numbers["calls"]
        codes[cell.code] += cell.numbers["calls"] if cell.outcome == "refused" else 0
        quarantined += cell.numbers["quarantined"]
    found = []
    span = f"in the last {window.words}"
    if outcomes["failed"]:
        text = "The senders were asked to repeat them."
        found.append(Concern("alarm", f"{_calls(outcomes['failed'])} failed {span}", text, "/ops/deliveries?outcome=failed"))
    refused = outcomes["refused"]
    if refused >= _STORM_CALLS and refused >= _STORM_SHARE * outcomes.total():
        reasons = ", ".join(f"{number:,} {write_words(code)}" for code, number in codes.most_common(3) if number)
        found.append(Concern("warning", f"{_calls(refused)} refused {span}", reasons, "/ops/deliveries?outcome=refused"))
    if outcomes["unreadable"]:
        url = "/ops/deliveries?outcome=unreadable"
        found.append(Concern("warning", f"{_calls(outcomes['unreadable'])} could not be read {span}", "All bytes are kept.", url))
    if quarantined:
        what = "1 item was set apart" if quarantined == 1 else f"{quarantined:,} items were set apart"
        found.append(Concern("warning", f"{what} {span}", "Each is kept with its bytes and the reason.", "/ops/quarantine"))
    return found


def count_calls(cells: Iterable[Cell]) -> Counter[tuple[int, str]]:
    """Return how many calls began with each outcome, by moment."""
    counted = Counter[tuple[int, str]]()
    for cell in cells:
        counted[cell.begins_at, cell.outcome] += cell.numbers["calls"]
    return counted


def count_messages(cells: Iterable[Cell]) -> Counter[tuple[int, str]]:
    """Return how many messages got each verdict, by moment."""
    counted = Counter[tuple[int, str]]()
    for cell in cells:
        for outcome in OUTCOMES:
            counted[cell.begins_at, outcome] += cell.numbers[outcome]
    return counted


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number:,} calls"
