"""The `receiver` command: one file a noun, one function an action.

Exit codes: 0 done; 1 the answer is no (not found, unhealthy, storage away); 2 wrong use or configuration.
"""

import sys

import click

from receiver import __version__
from receiver.cli import customers, deliveries, doctor, serve, trackers, window
from receiver.errors import ConfigurationError, ReceiverError, SchemaOutdated, WriterTaken

_WRONG_USE = (ConfigurationError, SchemaOutdated, WriterTaken)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Receive parcel-tracking webhooks from Ship24 and Shiipp: kept, once, forward only."""


commands.add_command(serve.init)
commands.add_command(serve.migrate)
commands.add_command(serve.serve)
commands.add_command(doctor.doctor)
commands.add_command(trackers.trackers)
commands.add_command(deliveries.deliveries)
commands.add_command(customers.customers)
commands.add_command(window.setup_window)


def main() -> None:
    """Run a command; what an operator did wrong is one line on standard error, never a traceback."""
    try:
        commands()
    except ReceiverError as error:
        click.echo(f"receiver: {error.message}", err=True)
        sys.exit(2 if isinstance(error, _WRONG_USE) else 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our pipe has seen enough
        sys.exit(0)
