"""The command `downtime list`."""

from datetime import timedelta

import click

from receiver import clock
from receiver.cli._options import TimeParam, as_json
from receiver.cli._output import brief, in_zone, show_heading, show_json, show_table
from receiver.cli._reading import reading
from receiver.cli._terminal import on_terminal
from receiver.domain.downtime import Downtime
from receiver.domain.labels import label
from receiver.monitoring.downtime import DEFAULT_SPAN, describe_downtime, read_downtimes
from receiver.settings import load

_KINDS = {
    "stopped": "no service ran",
    "unavailable": "answered 503",
    "refused": "rejected",
    "silent": "silent",
}


@click.group()
def downtime() -> None:
    """List when deliveries may have been lost."""


@downtime.command("list")
@click.option("--since", type=TimeParam(), help="Only what ended later. Default: 90 days ago.")
@as_json
def list_downtimes(*, since: int | None, as_json: bool) -> None:
    """List when deliveries may have been lost, the last time first.

    No service ran, everything was answered 503, every delivery of a source was rejected, or a source was silent for longer than
    usual. Shorter stops than two minutes are left out. The commands bring in what was lost.
    """
    now = clock.now()
    settings = load()
    active_sources = settings.active_sources()
    with reading(settings) as database:
        begun = clock.to_micros(now - DEFAULT_SPAN) if since is None else since
        found = read_downtimes(database, begun, clock.to_micros(now))
    if as_json:
        show_json({"items": [describe_downtime(each, active_sources) for each in found], "next": None})
        return
    if not found and on_terminal():
        click.echo("Nothing was lost, as far as is known.")
        return
    columns = [in_zone("from"), in_zone("to"), "lasted", "what"]
    rows = [_row(each, clock.to_micros(now)) for each in found]
    if not on_terminal():
        show_table([*columns, "command"], [[*row, each.command(active_sources)] for row, each in zip(rows, found, strict=True)])
        return
    show_table(columns, rows)
    if commands := [command for each in found if (command := each.command(active_sources)) is not None]:
        show_heading("Bring in what was lost")
        for command in dict.fromkeys(commands):
            click.echo(command)


def _row(downtime: Downtime, now: int) -> list[str]:
    source = f" ({label(downtime.source)})" if downtime.source is not None else ""
    ended = "still going on" if downtime.ended_at is None else brief(clock.iso(downtime.ended_at))
    lasted = timedelta(microseconds=(now if downtime.ended_at is None else downtime.ended_at) - downtime.began_at)
    return [
        brief(clock.iso(downtime.began_at)),
        ended,
        str(timedelta(seconds=round(lasted.total_seconds()))),
        _KINDS[downtime.kind] + source,
    ]
