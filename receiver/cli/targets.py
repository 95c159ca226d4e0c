"""The commands `targets`: waiting and failed changes of each target."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from receiver.cli._commands import CommandEntry, LazyGroup
from receiver.cli._lists import Paging, paged, show_list
from receiver.cli._options import Text, as_json
from receiver.cli._output import brief, capped_count, in_zone, last_line, show_json, show_table
from receiver.cli._reading import reading
from receiver.relay.assembly import describe_targets, find_targets
from receiver.settings import Settings, load
from receiver.storage import queries

_CHANGES = (
    CommandEntry("pause", "_target_changes", "Pause target NAME: its changes wait until it is resumed."),
    CommandEntry("flush", "_target_changes", "Try the waiting changes of target NAME at once."),
    CommandEntry("resume", "_target_changes", "Resume target NAME, which was paused or answered 410."),
    CommandEntry("retry", "_target_changes", "Retry the failed changes of target NAME, all or some."),
    CommandEntry("resend", "_target_changes", "Send a change of a tracker again, with the same ID and sequence."),
    CommandEntry("test", "_target_changes", "Send a test change to target NAME and show its answer."),
    CommandEntry("secret", "_target_changes", "Make a new secret for target NAME and say where to put it."),
    CommandEntry("drop", "_target_changes", "Remove the changes of a target that the settings no longer name."),
)


@click.group(cls=LazyGroup, entries=_CHANGES)
def targets() -> None:
    """List targets, and retry or remove their changes."""


@targets.command("list")
@as_json
def list_targets(*, as_json: bool) -> None:
    """List targets and handlers, with their waiting and failed changes.

    A target counts as failing since its oldest change whose last attempt failed became due.
    """
    items = _read(load())
    if as_json:
        show_json({"items": items, "next": None})
    elif items:
        columns = ("target", "kind", "filter", "waiting", in_zone("since"), "failed", "state")
        show_table(columns, map(_line, items), wrapped=["filter", "state"], numbers=["waiting", "failed"])
    else:
        click.echo("No targets found.")


@targets.command("dead")
@click.option("--target", type=Text(), help="Only changes for this target.")
@paged
def list_dead(target: str | None, *, paging: Paging) -> None:
    """List failed changes, with the last error."""
    columns, wrapped = ["target", "source", "tracker", "sequence", in_zone("failed"), "attempts", "error"], ["tracker", "error"]
    with reading() as database:
        read = partial(queries.list_dead, database, target)
        show_list(read, paging, "failed changes", lambda items: (columns, list(map(_dead, items)), wrapped))


def _read(settings: Settings) -> list[dict[str, Any]]:
    known = find_targets(settings)
    with reading(settings) as database:
        return describe_targets(database, known)


def _line(item: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        item["name"],
        item["kind"] or "not in the settings",
        _filter(item),
        capped_count(item, "waiting"),
        brief(item["oldest_due_at"]),
        capped_count(item, "dead"),
        _state(item),
    )


def _filter(item: Mapping[str, Any]) -> str:
    words = [*(item["sources"] or ()), *(item["milestones"] or ())]
    shown = ", ".join([*words, *(["new milestones"] if item["milestone_changed"] else [])]) or "none"
    return f"{shown} (sender's own milestone)" if item["basis"] == "shipment" else shown


def _state(item: Mapping[str, Any]) -> str:
    if item["paused_at"] is not None:
        return f"paused {brief(item['paused_at'])}"
    if item["stopped_at"] is not None:
        return f"stopped {brief(item['stopped_at'])}: {item['stop_reason']}"
    if item["mismatch"] is not None:
        return f"settings differ: {item['mismatch']}"
    if item["failing_since"] is not None:
        return f"failing since {brief(item['failing_since'])}: {last_line(item['last_error'])}"
    return "ok"


def _dead(row: Mapping[str, Any]) -> tuple[object, ...]:
    died_at, error = brief(row["died_at"]), last_line(row["error"])
    return row["target"], row["source"], row["tracker_id"], row["sequence"], died_at, row["attempts"], error
