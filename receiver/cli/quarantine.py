"""The commands `quarantine`: list what could not be applied, and retry, dismiss or reopen it."""

from functools import partial
from typing import Any

import click

from receiver.cli._commands import CommandEntry, LazyGroup
from receiver.cli._lists import Paging, paged, show_pages
from receiver.cli._options import OneOf, item_filters, sorted_by_time
from receiver.cli._output import show_end, show_heading, show_pairs, zoned
from receiver.cli._reading import reading
from receiver.storage import queries

_SHOWN_CHARACTERS = 300

_CHANGES = (
    CommandEntry("retry", "_quarantine_changes", "Decide quarantined messages and events again."),
    CommandEntry("dismiss", "_quarantine_changes", "Dismiss what needs no further attention."),
    CommandEntry("reopen", "_quarantine_changes", "Open dismissed messages and events again."),
)


@click.group(cls=LazyGroup, entries=_CHANGES)
def quarantine() -> None:
    """List, retry, dismiss and reopen what could not be applied."""


@quarantine.command("list")
@item_filters
@click.option(
    "--state", type=OneOf(queries.QUARANTINE_STATES), default="open", help="Open ones (default), or those that were closed."
)
@sorted_by_time
@paged
def list_quarantine(*, paging: Paging, **filters: Any) -> None:
    """List quarantined messages and events by time.

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
            "item": item["id"],
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
