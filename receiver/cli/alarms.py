"""The command `alarms list`."""

from typing import Any

import click

from receiver.cli._options import as_json
from receiver.cli._output import brief, show_page
from receiver.cli._remote import reading
from receiver.storage import queries


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
    columns = ("", "alarm", "subject", "began (UTC)", "message")
    show_page(found, "alarms", columns, map(_line, found.items), wrapped=["subject", "message"], as_json=as_json)


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    until = f" (until {brief(row['ended_at'])})" if row["ended_at"] else ""
    return (
        "ended" if row["ended_at"] else "active",
        row["name"],
        row["subject"],
        brief(row["began_at"]),
        f"{row['message']}{until}",
    )
