"""The command `relay`."""

import os

import click

from receiver.logs import setup
from receiver.relay import standalone
from receiver.settings import find_ignored, load


@click.command()
def relay() -> None:
    """Deliver changes to targets in a separate process.

    Runs until SIGTERM or Ctrl-C. Only with PostgreSQL; you can run several.
    """
    settings = load()
    setup.configure(settings.log_format, settings.secrets())
    setup.warn_of_ignored(find_ignored())
    os.chdir(settings.project.folder)  # relative paths of handlers and of the alarm command count from there
    standalone.run(settings)
