"""The commands `alarms list` and `alarms test`."""

from typing import Any

import click

from receiver.cli._commands import CommandEntry, LazyGroup
from receiver.cli._options import as_json
from receiver.cli._output import brief, in_zone, localise, show_json, show_page
from receiver.cli._reading import reading
from receiver.storage import queries

_CHANGES = (CommandEntry("test", "_alarm_test", "Send a test notice through each channel."),)


@click.group(cls=LazyGroup, entries=_CHANGES)
def alarms() -> None:
    """List alarms, and test how they are sent."""


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
    columns = ("", "alarm", "subject", in_zone("began"), "message")
    show_page(found, "alarms", columns, map(_line, found.items), wrapped=["subject", "message"])


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    until = f" (until {brief(row['ended_at'])})" if row["ended_at"] else ""
    return (
        "ended" if row["ended_at"] else "active",
        row["name"],
        row["subject"],
        brief(row["began_at"]),
        f"{localise(row['message'])}{until}",
    )
