"""The `receiver` command: one file a noun, one function an action."""

import click

from receiver.cli import serve


@click.group()
def main() -> None:
    """Receive parcel-tracking webhooks from Ship24 and Shiipp."""


main.add_command(serve.serve)
main.add_command(serve.migrate)
