"""The command `setup-window`: accept a sender's test deliveries, which come from addresses that are not on its list."""

from datetime import timedelta

import click

from receiver import clock
from receiver.cli._options import OneOf
from receiver.cli._output import zoned
from receiver.cli._remote import audit_entry, perform, post
from receiver.maintenance.setup_windows import open_window
from receiver.settings import load
from receiver.sources import NAMES


@click.command("setup-window")
@click.argument("source", type=OneOf(NAMES), metavar="SOURCE")
@click.option(
    "--minutes",
    type=click.IntRange(0, 1440),
    default=15,
    show_default=True,
    help="Time until the window closes. 0 closes it now.",
)
def setup_window(source: str, minutes: int) -> None:
    """Temporarily accept SOURCE from any IP address.

    SOURCE is ship24 or shiipp. A token is still required, and the window closes automatically.
    """
    settings = load()
    closes_at = clock.to_micros(clock.now() + timedelta(minutes=minutes))
    until = clock.iso(closes_at)
    perform(
        settings,
        lambda do: open_window(do, source, closes_at, audit_entry),
        lambda taken: post(settings, "/ops/api/setup-windows", {"source": source, "closes_at": until}, taken),
    )
    if minutes:
        click.echo(f"{source}: deliveries from any IP address are accepted until {zoned(until)}.")
    else:
        click.echo(f"{source}: the setup window is closed.")
