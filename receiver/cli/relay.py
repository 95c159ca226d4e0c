"""Handing changes on, as a process of its own."""

import click

from receiver.logs import setup
from receiver.relay import process
from receiver.settings import find_ignored, load


@click.command()
def relay() -> None:
    """Deliver changes to targets and handlers until SIGTERM or Ctrl-C (PostgreSQL: run one or more)."""
    settings = load()
    setup.configure(settings.log_format, settings.secrets())
    setup.warn_of_ignored(find_ignored())
    process.run(settings)
