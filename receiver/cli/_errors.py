"""Errors for people: one line on standard error. Imports little, since it is loaded before any command."""

from contextlib import suppress

import click


def complain(message: str) -> None:
    """Say what is wrong, in one line on standard error, if that takes it."""
    with suppress(OSError, ValueError):
        click.echo(f"receiver: {printable(' '.join(message.split()))}", err=True)


def end_line() -> None:
    """Move standard error to a new line, where a terminal shows `^C`."""
    with suppress(OSError, ValueError):
        click.echo(err=True)


def printable(value: object) -> str:
    """Return text that cannot steer a terminal: each control character, also of writing direction, is replaced."""
    text = "" if value is None else str(value)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
