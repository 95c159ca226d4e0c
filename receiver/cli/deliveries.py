"""What was called, by whom, and what we answered."""

import sys
from typing import Any

import click
import orjson

from receiver.cli.output import brief, show_heading, show_json, show_pairs, show_table
from receiver.records import OUTCOMES
from receiver.settings import load
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database

_SHOWN_BYTES = 4000


@click.group()
def deliveries() -> None:
    """List calls and show one of them whole."""


@deliveries.command("list")
@click.option("--source", help="Only this source, such as ship24.")
@click.option("--outcome", type=click.Choice(["accepted", "refused", "unreadable", "failed"]))
@click.option("--status", type=int, help="Only calls that we answered with this HTTP status.")
@click.option("--message-id", help="Only calls that carried this message.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_deliveries(
    source: str | None, outcome: str | None, status: int | None, message_id: str | None, limit: int, *, as_json: bool
) -> None:
    """List calls, newest first."""
    wanted = queries.DeliveryFilter(source, status, outcome, message_id=message_id)
    found = queries.list_deliveries(Database(load().database_url), wanted, NAMES, limit)
    if as_json:
        show_json(found.as_json())
        return
    columns = ("received (UTC)", "answer", "messages", "id")
    show_table(columns, (_line(row) for row in found.items), wrapped=["messages"])


@deliveries.command()
@click.argument("delivery_id")
@click.option("--body", "body_only", is_flag=True, help="Write the exact bytes of the body and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(delivery_id: str, *, body_only: bool, as_json: bool) -> None:
    """Show one call: headers without secrets, body, our answer, verdicts."""
    found = queries.show_delivery(Database(load().database_url), delivery_id)
    if body_only:
        sys.stdout.buffer.write(found.body or b"")
    elif as_json:
        show_json(found.as_json())
    else:
        _show(found)


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    what = row["code"] or ", ".join(f"{row[name]} {name}" for name in OUTCOMES if row[name]) or "none"
    return brief(row["received_at"]), row["status"], what, row["id"]


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
        }
    )
    if found.items:
        show_heading("Messages")
        rows = [[item[name] for name in ("position", "outcome", "reason", "message_id")] for item in found.items]
        show_table(("#", "outcome", "reason", "message id"), rows)
    show_heading("Headers")
    show_pairs(dict(found.headers))
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
        letter if letter.isprintable() or letter == "\n" else f"\\x{ord(letter):02x}" for letter in text[:_SHOWN_BYTES]
    )
    return shown + (f"\n… {len(text) - _SHOWN_BYTES} more characters; --body writes all" if len(text) > _SHOWN_BYTES else "")
