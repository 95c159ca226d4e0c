"""The command `serve`."""

import os

import click

from receiver import service
from receiver.logs import setup
from receiver.settings import find_ignored, load


@click.command()
def serve() -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Requests in progress are finished first.
    """
    settings = load()
    setup.configure(settings.log_format, settings.secrets())
    setup.warn_of_ignored(find_ignored())
    os.chdir(settings.project.folder)  # relative paths of handlers and of the alarm command count from there
    raise click.exceptions.Exit(service.run(settings))
