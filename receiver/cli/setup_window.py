"""The command `setup-window`: a sender's test deliveries come from addresses that are not on its list."""

from datetime import timedelta

import click

from receiver import clock
from receiver.cli._options import OneOf
from receiver.cli._remote import OperatorChange, audit_entry, perform
from receiver.settings import load
from receiver.sources import NAMES
from receiver.writer.commands.operators import OpenWindow


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
    now = clock.now()
    closes_at = clock.to_micros(now + timedelta(minutes=minutes))
    until = f"until {clock.iso(closes_at)}" if minutes else None
    entry = audit_entry(now, "setup-window open" if minutes else "setup-window close", source, until)
    body = {"source": source, "closes_at": clock.iso(closes_at)}
    change = OperatorChange(OpenWindow(source, closes_at), "/ops/api/setup-windows", body)
    perform(load(), change, entry)
    click.echo(
        f"{source}: deliveries from any IP address are accepted {until}." if minutes else f"{source}: the setup window is closed."
    )
