"""Confirmation by the operator of what changes or deletes data."""

import sys

import click

from receiver.cli.complaints import printable
from receiver.errors import ReceiverError


class Declined(ReceiverError):
    """The operator said no."""


def confirm(question: str) -> None:
    """Return if the operator says yes, on the terminal or through a pipe. Raises Declined, or UsageError if nobody answers."""
    on_terminal = sys.stdin.isatty()
    shown = f"{printable(question)} [y/N]: "
    while True:
        if on_terminal:
            click.echo(shown, nl=False, err=True)
        line = sys.stdin.buffer.readline().decode(errors="replace")
        if not line and not on_terminal:
            raise click.UsageError("No terminal to confirm on. Add --yes.")
        answer = line.strip().lower()
        if not on_terminal:
            click.echo(f"{shown}{printable(answer)}", err=True)
        if answer in {"y", "yes"}:
            return
        if answer in {"", "n", "no"}:
            raise Declined("Nothing was changed.")
        click.echo("Answer y or n.", err=True)
