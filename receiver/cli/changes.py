"""The command `changes list`."""

from functools import partial
from typing import Any

import click

from receiver.cli._lists import Paging, paged, show_list
from receiver.cli._options import OneOf, Text, TimeParam, of_source
from receiver.cli._output import brief, describe_attempt, in_zone
from receiver.cli._reading import reading
from receiver.cli._terminal import on_terminal
from receiver.sources import NAMES
from receiver.storage import queries

_MAX_CHARACTERS = 60  # of a result on a terminal; a pipe, CSV and JSON have all of it


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
    columns = ["state", "target", "tracker", "sequence", in_zone("time"), "result"]
    with reading() as database:
        tracker_id = None
        if tracker is not None:
            source, tracker_id = queries.find_tracker(database, tracker, NAMES, source)
        wanted = queries.ChangeFilter(target, state, source, tracker_id, since, until)
        read = partial(queries.list_changes, database, wanted)
        show_list(read, paging, "changes", lambda items: (columns, list(map(_line, items)), ["tracker", "result"]))


def _line(item: dict[str, Any]) -> tuple[object, ...]:
    at = brief(item["delivered_at"] or item["died_at"] or item["queued_at"])
    result = describe_attempt(item)
    if on_terminal() and len(result) > _MAX_CHARACTERS:
        result = f"{result[: _MAX_CHARACTERS - 1]}…"
    tracker = item["tracking_number"] or item["tracker_id"]
    return item["state"], item["target"], tracker, item["sequence"], at, result
