"""The command `changes list`."""

from functools import partial
from typing import Any

import click

from receiver.cli._lists import Paging, paged, show_list
from receiver.cli._options import OneOf, Text, TimeParam, of_source
from receiver.cli._output import brief, in_zone, last_line
from receiver.cli._remote import reading
from receiver.domain.labels import label
from receiver.sources import NAMES
from receiver.storage import queries


@click.group()
def changes() -> None:
    """List changes and their state for each target."""


@changes.command("list")
@click.option("--target", type=Text(), help="Only changes for this target.")
@click.option("--state", type=OneOf(queries.STATE_FILTERS), help="Only changes in this state.")
@of_source
@click.option("--tracker", type=Text(), metavar="TRACKER", help="Only of a tracker: a number, ID, reference or SOURCE/ID.")
@click.option("--since", type=TimeParam(), help="Only later changes: 14:03, yesterday, 2026-01-31 12:00 or 24h.")
@click.option("--until", type=TimeParam(), help="Only earlier changes.")
@paged
def list_changes(
    target: str | None,
    state: str | None,
    source: str | None,
    tracker: str | None,
    since: int | None,
    until: int | None,
    *,
    paging: Paging,
) -> None:
    """List changes by their state.

    Failing ones come first, then dead, waiting and delivered ones.

    The time of a change is when it was delivered or failed for good, or else since when it waits.
    """
    columns = ["state", "target", "source", "tracker", "sequence", in_zone("time"), "attempts", "result"]
    with reading() as database:
        tracker_id = None
        if tracker is not None:
            source, tracker_id = queries.find_tracker(database, tracker, NAMES, source)
        wanted = queries.ChangeFilter(target, state, source, tracker_id, since, until)
        read = partial(queries.list_changes, database, wanted)
        show_list(read, paging, "changes", lambda items: (columns, list(map(_line, items)), ["tracker", "result"]))


def _line(item: dict[str, Any]) -> tuple[object, ...]:
    at = brief(item["delivered_at"] or item["died_at"] or item["queued_at"])
    answer = last_line(item["last_error"]) if item["last_error"] else item["status"] and f"answered {item['status']}"
    result = ". ".join(filter(None, (item["held_by"] and label(item["held_by"]), answer)))
    tracker = item["tracking_number"] or item["tracker_id"]
    return item["state"], item["target"], item["source"], tracker, item["sequence"], at, item["attempts"], result
