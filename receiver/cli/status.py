"""Commands that show how the service is doing: statistics, alarms, quarantine, audit log."""

from collections.abc import Iterator
from typing import Any

import click

from receiver import clock
from receiver.cli._options import Text, WindowParam, as_json, of_source, paged, read_span
from receiver.cli._output import brief, show_end, show_heading, show_json, show_page, show_pairs, show_table
from receiver.cli._remote import reading
from receiver.domain.verdicts import OUTCOMES
from receiver.sources import NAMES
from receiver.storage import queries

_SHARES = {50: "median", 90: "90th percentile", 99: "99th percentile"}
_SHOWN_CHARACTERS = 300
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


@click.command()
@click.option("--window", type=WindowParam(), default="24h", show_default=True, help="How far to look back: 90m, 24h, 7d.")
@as_json
def stats(window: str, *, as_json: bool) -> None:
    """Show traffic statistics.

    Deliveries and messages by source, the delay between event and arrival, and the size of the database.
    """
    now = clock.now()
    with reading() as database:
        since, until = clock.to_micros(now - read_span(window)), clock.to_micros(now)
        found = queries.show_statistics(database, window, since, until, NAMES)
    if as_json:
        show_json(found)
        return
    show_table((f"last {window}", *NAMES), _lines(list(found["sources"].values())), numbers=NAMES)
    show_heading("Stored")
    show_pairs(
        [
            *((name, f"{rows:,}" + (" (about)" if name != "deliveries" else "")) for name, rows in found["rows"].items()),
            ("database", f"{found['database_bytes'] / 2**20:,.1f} MiB"),
        ]
    )


@click.group()
def alarms() -> None:
    """List alarms."""


@alarms.command("list")
@click.option("--on", "only_on", is_flag=True, help="Only active alarms.")
@as_json
def list_alarms(*, only_on: bool, as_json: bool) -> None:
    """List alarms, active and past, newest first."""
    with reading() as database:
        found = queries.ResultPage(queries.list_alarms(database, only_on=only_on), None)
    if as_json:
        show_json(found.as_json())
        return
    columns = ("", "alarm", "subject", "began (UTC)", "message")
    show_page(found, "alarms", columns, map(_alarm, found.items), wrapped=["subject", "message"])


@click.group()
def audit() -> None:
    """List changes made by operators."""


@audit.command("list")
@paged
def list_audit(limit: int, cursor: str | None, *, as_json: bool) -> None:
    """List changes made by operators, newest first."""
    with reading() as database:
        found = queries.list_audit(database, limit, cursor)
    if as_json:
        show_json(found.as_json())
        return
    columns = ("done (UTC)", "by", "action", "subject", "detail")
    show_page(found, "changes", columns, map(_change, found.items), wrapped=["by", "subject", "detail"])


@click.group()
def quarantine() -> None:
    """List messages and events that could not be applied."""


@quarantine.command("list")
@of_source
@click.option("--reason", type=Text(), help="Only this reason, such as bad_occurrence.")
@paged
def list_quarantine(source: str | None, reason: str | None, limit: int, cursor: str | None, *, as_json: bool) -> None:
    """List quarantined messages and events, newest first.

    Each is shown with the start of its content.
    """
    with reading() as database:
        found = queries.list_quarantine(database, source, reason, limit, cursor)
    if as_json:
        show_json(found.as_json())
        return
    for item in found.items:
        _show_quarantined(item)
    show_end(found, "quarantined messages")


def _lines(sources: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    yield ("deliveries", *(f"{source['calls']:,}" for source in sources))
    for outcome in sources[0]["outcomes"]:
        yield (f"  {outcome}", *(f"{source['outcomes'][outcome]:,}" for source in sources))
    for code in sorted({code for source in sources for code in source["codes"]}):
        yield (f"    {code}", *(f"{source['codes'].get(code, 0):,}" for source in sources))
    yield ("  counted only", *(f"{source['unrecorded']:,}" for source in sources))
    yield ("deliveries per second", *(f"{source['calls_per_second']:,g}" for source in sources))
    yield ("messages", *(f"{source['received']:,}" for source in sources))
    for outcome in OUTCOMES:
        yield (f"  {outcome}", *(f"{source[outcome]:,}" for source in sources))
    for share, name in _SHARES.items():
        yield (f"delay, {name}", *(_span(source["lag"][f"p{share}_seconds"]) for source in sources))
    yield ("last delivery (UTC)", *(brief(source["last_call_at"]) or "never" for source in sources))


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return next((f"{seconds / size:,.1f} {unit}" for size, unit in _UNITS if abs(seconds) >= size), f"{seconds:,.1f} s")


def _alarm(row: dict[str, Any]) -> tuple[object, ...]:
    until = f" (until {brief(row['ended_at'])})" if row["ended_at"] else ""
    return (
        "ended" if row["ended_at"] else "active",
        row["name"],
        row["subject"],
        brief(row["began_at"]),
        f"{row['message']}{until}",
    )


def _change(row: dict[str, Any]) -> tuple[object, ...]:
    by = row["actor"] + (f" ({row['address']})" if row["address"] else "")
    return brief(row["done_at"]), by, row["action"], row["subject"], row["detail"]


def _show_quarantined(item: dict[str, Any]) -> None:
    of_event = "" if item["event_position"] is None else f", event {item['event_position'] + 1}"
    left = item["raw_bytes"] - len(item["raw"][:_SHOWN_CHARACTERS].encode())
    show_heading(f"{brief(item['received_at'])}  {item['source']}  {item['reason']}")
    show_pairs(
        {
            "delivery": f"{item['delivery_id']}, message {item['position'] + 1}{of_event}",
            "message ID": item["message_id"],
            "tracker": item["tracker_id"],
            "detail": item["detail"],
            "content": item["raw"][:_SHOWN_CHARACTERS] + (f" … {left} more bytes" if left > 0 else ""),
        }.items()
    )
