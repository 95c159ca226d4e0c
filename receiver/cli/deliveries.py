"""What was called, by whom, and what we answered."""

import sys
from collections.abc import Iterable
from typing import Any

import click
import orjson

from receiver import clock
from receiver.cli._errors import complain
from receiver.cli._follow import Follower, follow, wait_for_more
from receiver.cli._options import OneOf, Text, TimeParam, as_json, of_source, paged
from receiver.cli._output import (
    brief,
    coloured,
    show_heading,
    show_json,
    show_json_line,
    show_line,
    show_page,
    show_pairs,
    show_table,
    terminal_width,
)
from receiver.cli._remote import reading
from receiver.cli.replay import replay
from receiver.domain.verdicts import OUTCOMES
from receiver.errors import NotFound
from receiver.monitoring.explain import explain_delivery
from receiver.settings import Settings, load
from receiver.sources import NAMES
from receiver.storage import queries

_SHOWN_LETTERS = 4000
_WIDTHS = {"received (UTC)": 14, "source": 6, "id": 36, "client": 39}
_CLIENT_FROM_WIDTH = 120  # in a narrower terminal its address has no room


@click.group()
def deliveries() -> None:
    """List, show and reprocess deliveries."""


@deliveries.command("list")
@of_source
@click.option("--outcome", type=OneOf(["accepted", "refused", "unreadable", "failed"]))
@click.option("--status", type=click.IntRange(100, 599), help="Only deliveries answered with this HTTP status.")
@click.option("--client", type=Text(), help="Only deliveries from this IP address.")
@click.option("--since", type=TimeParam(), help="Only later deliveries: 2026-01-31T12:00:00Z, 2026-01-31 or 24h.")
@click.option("--until", type=TimeParam(), help="Only earlier deliveries.")
@click.option("--message-id", type=Text(), help="Only deliveries with this message ID.")
@click.option("--tracking-number", type=Text(), help="Only deliveries for this tracking number.")
@click.option("--follow", "on_and_on", is_flag=True, help="Show the last deliveries, then print each new one.")
@paged
def list_deliveries(on_and_on: bool, limit: int, cursor: str | None, *, as_json: bool, **filters: Any) -> None:  # noqa: FBT001
    """List deliveries, newest first."""
    wanted = queries.DeliveryFilter(**filters)
    if on_and_on:
        if cursor is not None or wanted.until is not None:
            raise click.UsageError("--follow goes on for ever: leave --cursor and --until out.")
        _follow(load(), wanted, limit, as_json=as_json)
        return
    with reading() as database:
        found = queries.list_deliveries(database, wanted, NAMES, limit, cursor)
    if as_json:
        show_json(found.as_json())
        return
    _show_page(found)


@deliveries.command()
@click.argument("delivery_id", type=Text())
@click.option("--body", "body_only", is_flag=True, help="Write the exact bytes of the body and nothing else.")
@as_json
def show(delivery_id: str, *, body_only: bool, as_json: bool) -> None:
    """Show one delivery: headers without secrets, body, our answer, verdicts."""
    with reading() as database:
        found = queries.show_delivery(database, delivery_id)
    if body_only:
        if found.body is None:
            raise NotFound(f"The bytes of delivery {delivery_id} are no longer kept.")
        sys.stdout.buffer.write(found.body)
    elif as_json:
        show_json(explain_delivery(found))
    else:
        _show(found)


def _show_page(page: queries.ResultPage) -> None:
    """Print a table; where it is narrow and all calls are of one year, that stands at the top."""
    names = _columns(terminal_width() or 0)
    years = {row["received_at"][:4] for row in page.items}
    short = len(years) == 1 and "client" not in names
    first = f"in {min(years)} (UTC)" if short else names[0]
    lines = ([received[5:] if short else received, *rest] for received, *rest in (_line(row, names) for row in page.items))
    show_page(page, "call", [first, *names[1:], "answer"], lines, wrapped=["answer"])


def _follow(settings: Settings, wanted: queries.DeliveryFilter, limit: int, *, as_json: bool) -> None:
    with reading(settings) as database:
        follower = Follower(
            lambda *asked: queries.list_deliveries(database, asked[0], NAMES, *asked[1:]), wanted, settings.commit_timeout_seconds
        )
        calls = follow(follower, limit, complain, clock.now, wait_for_more)
        if as_json:
            for row in calls:
                show_json_line(row)
        else:
            _show_lines(calls)


def _show_lines(calls: Iterable[dict[str, Any]]) -> None:
    """Print a table that grows at its end: no year, and columns that stay as they are."""
    names = _columns(terminal_width() or _CLIENT_FROM_WIDTH)
    widths = [_WIDTHS[name] for name in names]
    show_line(list(zip(names, widths, strict=True)), "answer")
    for row in calls:
        received, *cells, answer = _line(row, names)
        show_line(list(zip([received[5:], *cells], widths, strict=True)), answer)


def _columns(width: int) -> list[str]:
    return [name for name in _WIDTHS if name != "client" or width >= _CLIENT_FROM_WIDTH]


def _line(row: dict[str, Any], names: list[str]) -> list[Any]:
    nothing = f"{row['received']} customers" if row["kind"] == "customers" else "empty"
    what = row["code"] or ", ".join(f"{row[name]} {name}" for name in OUTCOMES if row[name]) or nothing
    cells = {"received (UTC)": brief(row["received_at"]), "client": row["client"] or "-"}
    shown = [cells.get(name, row.get(name)) for name in names]
    return [*shown, coloured(f"{row['status']} {what}", row["outcome"])]


def _show(found: queries.StoredDelivery) -> None:
    row = found.row
    reason = f"{row['code']}: {row['reason']}" if row["code"] else None
    show_pairs(
        {
            "delivery": row["id"],
            "call": f"{row['method']} {row['path']}",
            "received": row["received_at"],
            "decided": row["decided_at"],
            "from": f"{row['client'] or 'unknown'} (connection {row['peer']})",
            "token": row["token"],
            "note": row["note"],
            "answer": f"{row['status']} {row['outcome']}",
            "reason": reason,
        }.items()
    )
    if found.items:
        show_heading("Messages")
        names = ("outcome", "reason", "message_id")
        rows = [[item["position"] + 1, *(item[name] for name in names)] for item in found.items]
        show_table(("#", "outcome", "reason", "message id"), rows, wrapped=["message id"], numbers=["#"])
    show_heading("Headers")
    show_pairs(found.headers)
    show_heading(f"Body ({row['body_bytes']} bytes)")
    click.echo(_readable(found.body))
    show_heading("Our answer")
    click.echo(_readable(found.answer))


def _readable(body: bytes | None) -> str:
    """Return JSON indented, other bytes escaped, both cut; control characters never reach the terminal."""
    if body is None:
        return "(no longer kept)"
    try:
        text = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "backslashreplace")
    shown = "".join(
        letter if letter.isprintable() or letter == "\n" else f"\\u{ord(letter):04x}" for letter in text[:_SHOWN_LETTERS]
    )
    return shown + (f"\n… {len(text) - _SHOWN_LETTERS} more characters; --body writes all" if len(text) > _SHOWN_LETTERS else "")


deliveries.add_command(replay)
