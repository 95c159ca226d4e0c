"""The command `stats`."""

from collections.abc import Iterator
from typing import Any

import click

from receiver import clock
from receiver.cli._options import WindowParam, as_json
from receiver.cli._output import brief, in_zone, localise, show_heading, show_json, show_pairs, show_table, zoned
from receiver.cli._reading import reading
from receiver.domain.concerns import Concern
from receiver.domain.time_inputs import read_span
from receiver.domain.verdicts import OUTCOMES
from receiver.monitoring.overview import read_overview
from receiver.settings import load
from receiver.sources import NAMES
from receiver.storage import queries

_SHARES = {50: "median", 90: "90th percentile", 99: "99th percentile"}
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


@click.command()
@click.option("--window", type=WindowParam(), default="24h", show_default=True, help="How far to look back: 90m, 24h, 7d.")
@as_json
def stats(window: str, *, as_json: bool) -> None:
    """Show traffic statistics.

    Deliveries and messages by source, the delay between event and arrival, what needs attention, and the size of the database.
    """
    now = clock.now()
    settings = load()
    with reading(settings) as database:
        since, until = clock.to_micros(now - read_span(window)), clock.to_micros(now)
        found = queries.show_statistics(database, window, since, until, NAMES, now=until)
        overview = read_overview(database, settings.active_sources(), now)
    if as_json:
        show_json(found)
        return
    show_table((f"last {window}", *NAMES), _lines(list(found["sources"].values())), numbers=NAMES)
    if found["refusals"]:
        show_heading("Rejected")
        show_table(("source", "deliveries", "share", in_zone("last"), "cause"), _refusals(found["refusals"]), wrapped=["cause"])
    if found["unknown_paths"]:
        show_heading("Unknown paths")
        columns = ("path", "nearest path", "requests", in_zone("last"))
        show_table(columns, _unknown_paths(found["unknown_paths"]), wrapped=["path"])
    show_heading("Needs attention")
    if not overview.concerns:
        click.echo("Nothing needs attention.")
    show_table(("", "concern"), [(concern.weight, _describe(concern)) for concern in overview.concerns], wrapped=["concern"])
    show_heading("Stored")
    show_pairs(
        [
            *((name, f"{rows:,}" + (" (about)" if name != "deliveries" else "")) for name, rows in found["rows"].items()),
            ("database", f"{found['database_bytes'] / 2**20:,.1f} MiB"),
        ]
    )


def _describe(concern: Concern) -> str:
    at = f" {zoned(concern.at)}" if concern.at else ""
    return localise(f"{concern.title.removesuffix('.')}. {concern.text}") + at


def _lines(sources: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    yield ("deliveries", *(f"{source['deliveries']:,}" for source in sources))
    for outcome in sources[0]["outcomes"]:
        yield (f"  {outcome}", *(f"{source['outcomes'][outcome]:,}" for source in sources))
    for code in sorted({code for source in sources for code in source["codes"]}):
        yield (f"    {code}", *(f"{source['codes'].get(code, 0):,}" for source in sources))
    yield ("  counted only", *(f"{source['unrecorded']:,}" for source in sources))
    yield ("deliveries per second", *(f"{source['deliveries_per_second']:,g}" for source in sources))
    yield ("messages", *(f"{source['received']:,}" for source in sources))
    for outcome in OUTCOMES:
        yield (f"  {outcome}", *(f"{source[outcome]:,}" for source in sources))
    for share, name in _SHARES.items():
        yield (f"delay, {name}", *(_span(source["lag"][f"p{share}_seconds"]) for source in sources))
    yield (in_zone("last delivery"), *(brief(source["last_delivery_at"]) or "never" for source in sources))


def _refusals(refusals: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for item in refusals:
        numbers = f"{item['deliveries']:,}", f"{100 * item['share']:.3g} %"
        yield (item["source"], *numbers, brief(item["latest_at"]) or "-", item["advice"] or item["code"].replace("_", " "))


def _unknown_paths(items: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for item in items:
        yield (item["path"] or "others", item["nearest"] or "-", f"{item['requests']:,}", brief(item["last_at"]))


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return next((f"{seconds / size:,.1f} {unit}" for size, unit in _UNITS if abs(seconds) >= size), f"{seconds:,.1f} s")
