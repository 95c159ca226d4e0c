"""The command `quarantine list`."""

from functools import partial
from typing import Any

import click

from receiver.cli._lists import Paging, paged, show_pages
from receiver.cli._options import OneOf, Text, TimeParam, of_source
from receiver.cli._output import show_end, show_heading, show_pairs, zoned
from receiver.cli._remote import reading
from receiver.storage import queries

_SHOWN_CHARACTERS = 300


@click.group()
def quarantine() -> None:
    """List messages and events that could not be applied."""


@quarantine.command("list")
@click.option("--q", "search", type=Text(), help="Message ID, tracker ID, tracking number, reference, or text in the content.")
@of_source
@click.option("--reason", type=Text(), help="Only this reason, such as bad_occurrence.")
@click.option("--since", type=TimeParam(), help="Only later ones: 2026-01-31T12:00:00Z, 2026-01-31 or 24h.")
@click.option("--until", type=TimeParam(), help="Only earlier ones.")
@click.option(
    "--state", type=OneOf(queries.QUARANTINE_STATES), default="open", help="Open ones (default), or those that were closed."
)
@paged
def list_quarantine(*, paging: Paging, **filters: Any) -> None:
    """List quarantined messages and events, newest first.

    Each is shown with what to do, and with the start of its content.
    """
    with reading() as database:
        show_pages(partial(queries.list_quarantine, database, queries.QuarantineFilter(**filters)), paging, _show_page)


def _show_page(page: queries.ResultPage, *, is_first: bool) -> None:  # noqa: ARG001  each item has its own heading
    for item in page.items:
        _show_quarantined(item)
    show_end(page, "quarantined messages")


def _show_quarantined(item: dict[str, Any]) -> None:
    of_event = "" if item["event_position"] is None else f", event {item['event_position'] + 1}"
    left = item["raw_bytes"] - len(item["raw"][:_SHOWN_CHARACTERS].encode())
    show_heading(f"{zoned(item['received_at'])}  {item['source']}  {item['reason']}")
    show_pairs(
        {
            "delivery": f"{item['delivery_id']}, message {item['position'] + 1}{of_event}",
            "message ID": item["message_id"],
            "tracker": item["tracker_id"],
            "detail": item["detail"],
            "state": _describe_state(item),
            "what to do": item["advice"],
            "content": item["raw"][:_SHOWN_CHARACTERS] + (f" … {left} more bytes" if left > 0 else ""),
        }.items()
    )


def _describe_state(item: dict[str, Any]) -> str | None:
    """Return when and by whom an item was closed; None for an open one."""
    if item["state"] == "open":
        return None
    by = "" if item["closed_by"] is None else f" by {item['closed_by']}"
    note = "" if item["note"] is None else f": {item['note']}"
    return f"{item['state']} {zoned(item['closed_at'])}{by}{note}"
