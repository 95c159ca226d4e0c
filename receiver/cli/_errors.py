"""Errors as one line on standard error, and their exit codes. Imports little: it is loaded before any command."""

import errno
from contextlib import suppress
from importlib import import_module

import click

from receiver.errors import Ambiguous, ConfigurationError, NoDatabase, ReceiverError, SchemaOutdated, WriterTaken

_WRONG_USE = (Ambiguous, ConfigurationError, SchemaOutdated, WriterTaken)
_NOT_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def complain(message: str) -> None:
    """Print one line on standard error. Do nothing if it cannot be written."""
    with suppress(OSError, ValueError):
        click.echo(f"receiver: {printable(' '.join(message.split()))}", err=True)


def end_line() -> None:
    """Start a new line on standard error, after the `^C` of a terminal."""
    with suppress(OSError, ValueError):
        click.echo(err=True)


def printable(value: object) -> str:
    """Return text without control characters, those of writing direction included; each is replaced."""
    text = "" if value is None else str(value)
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def report(error: Exception) -> int:
    """Print the error that ended a command, and return the exit code."""
    if isinstance(error, NoDatabase):
        error = _ask_service(error)
    if isinstance(error, ReceiverError):
        complain(error.message)
        return 2 if isinstance(error, _WRONG_USE) else 1
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        message = error.format_message()
        end = "" if message.endswith((".", "?")) else "."
        complain(f"{message}{end}" + (f" See `{context.command_path} --help`." if context else ""))
        return error.exit_code
    if isinstance(error, UnicodeEncodeError):
        complain("An argument is not UTF-8 text.")
        return 2
    assert isinstance(error, OSError)
    reason = error.strerror or str(error)
    if error.filename is not None:
        complain(f"{error.filename}: {reason}")
        return 2
    complain(f"Cannot write the output: {reason}." if error.errno in _NOT_WRITTEN else f"{reason}.")
    return 1


def _ask_service(error: NoDatabase) -> ReceiverError:
    """Ask the running service whether it lost the database; return the error to print."""
    explained = import_module("receiver.cli._remote").explain_no_database(error)  # slow to import, and rarely needed
    assert isinstance(explained, ReceiverError)
    return explained
