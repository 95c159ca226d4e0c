"""The commands `deliveries list` and `deliveries show`."""

import sys
from collections.abc import Iterable
from functools import partial
from typing import Any

import click
import orjson

from receiver import clock
from receiver.cli._commands import CommandEntry, LazyGroup
from receiver.cli._errors import complain
from receiver.cli._follow import Follower, follow, wait_for_more
from receiver.cli._lists import Paging, Table, paged, show_list
from receiver.cli._options import OneOf, Text, as_json, delivery_filters, sorted_by_time
from receiver.cli._output import (
    brief,
    coloured,
    in_zone,
    show_heading,
    show_json,
    show_json_line,
    show_line,
    show_pairs,
    show_table,
    terminal_width,
    zoned,
)
from receiver.cli._reading import reading
from receiver.cli._terminal import on_terminal, zone_name
from receiver.domain.records import DOWNLOAD, WEBHOOK
from receiver.domain.refusals import describe_cause
from receiver.domain.verdicts import OUTCOMES
from receiver.errors import NotFound
from receiver.monitoring.explain import explain_delivery
from receiver.settings import Settings, load
from receiver.sources import NAMES
from receiver.storage import queries

_SHOWN_CHARACTERS = 4000
_WIDTHS = {"received": 14, "source": 6, "id": 36, "client": 39}
_CLIENT_FROM_WIDTH = 120  # a narrower terminal has no room for the address


_CHANGES = (
    CommandEntry("import", "_import", "Bring in deliveries that never came."),
    CommandEntry("replay", "_replay", "Reprocess stored deliveries, oldest first."),
)


@click.group(cls=LazyGroup, entries=_CHANGES)
def deliveries() -> None:
    """List, show, import and reprocess deliveries."""


@deliveries.command("list")
@delivery_filters
@click.option("--outcome", type=OneOf(["accepted", "refused", "unreadable", "failed"]), help="Only deliveries with this outcome.")
@click.option("--follow", "is_following", is_flag=True, help="Show the last deliveries, then print each new one.")
@sorted_by_time
@paged
def list_deliveries(*, is_following: bool, paging: Paging, **filters: Any) -> None:
    """List deliveries by time."""
    wanted = queries.DeliveryFilter(**filters)
    if is_following:
        if paging.cursor is not None or wanted.until is not None or wanted.sort == "oldest" or paging.is_all:
            raise click.UsageError("--follow cannot be combined with --cursor, --until, --sort oldest, --all or --csv.")
        _follow(load(), wanted, paging.limit, as_json=paging.as_json)
        return
    with reading() as database:
        show_list(partial(queries.list_deliveries, database, wanted, NAMES), paging, "deliveries", _make_table)


@deliveries.command()
@click.argument("delivery_id", type=Text())
@click.option("--body", "body_only", is_flag=True, help="Write the body only, byte for byte.")
@as_json
def show(delivery_id: str, *, body_only: bool, as_json: bool) -> None:
    """Show one delivery with its body, response and verdicts.

    DELIVERY_ID may be its beginning, at least six characters. Headers are shown without secrets.
    """
    with reading() as database:
        found = queries.show_delivery(database, queries.complete_delivery_id(database, delivery_id))
    if body_only:
        if found.body is None:
            raise NotFound(f"The body of delivery {delivery_id} is not stored (rejected, pruned or erased).")
        sys.stdout.buffer.write(found.body)
    elif as_json:
        show_json(explain_delivery(found))
    else:
        _show(found)


def _make_table(items: list[dict[str, Any]]) -> Table:
    """Return the table of a page. In a narrow table of one year only, the year is in the column name."""
    names = _columns(terminal_width() or _CLIENT_FROM_WIDTH)
    years = {brief(row["received_at"])[:4] for row in items}
    short = len(years) == 1 and "client" not in names
    first = in_zone(f"in {min(years)}" if short else "received")
    lines = [[received[5:] if short else received, *rest] for received, *rest in (_line(row, names) for row in items)]
    return [first, *names[1:], "response"], lines, ["response"]


def _follow(settings: Settings, wanted: queries.DeliveryFilter, limit: int, *, as_json: bool) -> None:
    with reading(settings) as database:

        def read(filters: queries.DeliveryFilter, size: int, cursor: str | None) -> queries.ResultPage:
            return queries.list_deliveries(database, filters, NAMES, size, cursor)

        follower = Follower(read, wanted, settings.commit_timeout_seconds)
        new = follow(follower, limit, complain, clock.now, wait_for_more)
        if as_json:
            for row in new:
                show_json_line(row)
        else:
            _show_lines(new)


def _show_lines(rows: Iterable[dict[str, Any]]) -> None:
    """Print deliveries as they arrive. On a terminal, the columns have a fixed width and the times no year."""
    names = _columns(terminal_width() or _CLIENT_FROM_WIDTH)
    widths = [_WIDTHS[name] for name in names]
    show_line(list(zip([zone_name(), *names[1:]], widths, strict=True)), "response")
    first = len("2026-") if on_terminal() else 0
    for row in rows:
        received, *cells, response = _line(row, names)
        show_line(list(zip([received[first:], *cells], widths, strict=True)), response)


def _columns(width: int) -> list[str]:
    return [name for name in _WIDTHS if name != "client" or width >= _CLIENT_FROM_WIDTH]


def _line(row: dict[str, Any], names: list[str]) -> list[Any]:
    without_messages = f"{row['received']} customers" if row["kind"] == DOWNLOAD else "empty"
    what = row["code"] or ", ".join(f"{row[name]} {name}" for name in OUTCOMES if row[name]) or without_messages
    cells = {"received": brief(row["received_at"]), "client": row["client"] or "-"}
    shown = [cells.get(name, row.get(name)) for name in names]
    mark = "" if row["test_run"] is None else " (test)"
    mark += "" if row["origin"] == WEBHOOK else f" ({row['origin']})"
    return [*shown, coloured(f"{row['status']} {what}{mark}", row["outcome"])]


def _show(found: queries.StoredDelivery) -> None:
    row = found.row
    reason = f"{row['code']}: {row['reason']}" if row["code"] else None
    is_webhook = row["origin"] == WEBHOOK
    show_pairs(
        {
            "delivery": row["id"],
            "origin": None if is_webhook else f"{row['origin']}, body {row['body_number']} of its file",
            "request": f"{row['method']} {row['path']}" if is_webhook else None,
            "first sent": row["sent_at"] and zoned(row["sent_at"]),
            "received": zoned(row["received_at"]),
            "responded": zoned(row["decided_at"]),
            "client IP": f"{row['client'] or 'unknown'} (connection from {row['peer']})" if is_webhook else None,
            "token": row["token"],
            "note": row["note"],
            "test": row["test_run"] and f"run {row['test_run']}; no target gets its changes, unless it was to be handed on",
            "response": f"{row['status']} {row['outcome']}",
            "reason": reason,
            "cause": row["cause"] and describe_cause(row["source"], row["cause"], row["note"]),
        }.items()
    )
    if found.items:
        show_heading("Messages")
        names = ("outcome", "reason", "message_id")
        rows = [[item["position"] + 1, *(item[name] for name in names)] for item in found.items]
        show_table(("#", "outcome", "reason", "message ID"), rows, wrapped=["message ID"], numbers=["#"])
    show_heading("Headers")
    show_pairs(found.headers)
    show_heading(f"Body ({row['body_bytes']} bytes)")
    click.echo(_readable(found.body))
    show_heading("Response")
    click.echo(_readable(found.answer))


def _readable(body: bytes | None) -> str:
    """Return indented JSON, or other bytes as text, both cut. Control characters are escaped."""
    if body is None:
        return "(not stored)"
    try:
        text = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "backslashreplace")
    shown = "".join(
        character if character.isprintable() or character == "\n" else f"\\u{ord(character):04x}"
        for character in text[:_SHOWN_CHARACTERS]
    )
    return shown + (
        f"\n… {len(text) - _SHOWN_CHARACTERS} more characters; --body writes the whole body"
        if len(text) > _SHOWN_CHARACTERS
        else ""
    )
