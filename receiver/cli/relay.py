"""Handing changes on, as a process of its own."""

import click

from receiver import logs
from receiver.relay import process
from receiver.settings import find_ignored, load


@click.command()
def relay() -> None:
    """Hand changes on to handlers and targets until SIGTERM or Ctrl-C; for PostgreSQL, as many as you like."""
    settings = load()
    logs.configure(settings.log_format, settings.secrets())
    logs.warn_of_ignored(find_ignored())
    process.run(settings)
