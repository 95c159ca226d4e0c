"""The `receiver` command: one file a noun, one function an action.

Exit codes: 0 done; 1 the answer is no (not found, unhealthy, storage away); 2 wrong use or configuration.
"""

import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from receiver import __version__
from receiver.cli.output import complain
from receiver.errors import ConfigurationError, ReceiverError, SchemaOutdated, WriterTaken

_WRONG_USE = (ConfigurationError, SchemaOutdated, WriterTaken)
_INTERRUPTED = 130  # what shells say of a command that Ctrl-C has ended


_MODULES = {
    "init": "serve",
    "migrate": "migrate",
    "serve": "serve",
    "relay": "relay",
    "doctor": "doctor",
    "check": "check",
    "explain": "explain",
    "trackers": "trackers",
    "deliveries": "deliveries",
    "quarantine": "quarantine",
    "stats": "operations",
    "alarms": "operations",
    "audit": "operations",
    "customers": "customers",
    "targets": "targets",
    "rebuild": "rebuild",
    "setup-window": "window",
    "prune": "prune",
    "forget": "forget",
    "simulate": "simulate",
}
"""Which file has a command, as a function of the command's name. The others need not be in memory while one runs."""


class _Commands(click.Group):
    """All commands, each imported when it is asked for. A reader of our pipe who has seen enough is no error."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, or None."""
        if cmd_name not in _MODULES:
            return None
        command = getattr(import_module(f"receiver.cli.{_MODULES[cmd_name]}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant, or name the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=_MODULES, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; where nobody reads any more, end it quietly."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered goes nowhere
            ctx.exit(0)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Receive parcel-tracking webhooks from Ship24 and Shiipp: kept, once, forward only."""


def main() -> None:
    """Run a command; what an operator did wrong is one line on standard error, never a traceback."""
    _open_standard_files()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of few letters is no reason to fail
    try:
        code = commands.main(standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        code = _INTERRUPTED
    except (click.ClickException, ReceiverError, UnicodeEncodeError, OSError) as error:
        code = _explain(error)
    sys.exit(code)


def _open_standard_files() -> None:
    """Open standard files that were closed (`2>&-`) to nowhere: otherwise the database gets their numbers, and their text."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  as long as the process


def _explain(error: Exception) -> int:
    """Say in one line what is wrong, and return the exit code for it."""
    if isinstance(error, ReceiverError):
        complain(error.message)
        return 2 if isinstance(error, _WRONG_USE) else 1
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        words = error.format_message()
        end = "" if words.endswith((".", "?")) else "."
        complain(f"{words}{end}" + (f" See `{context.command_path} --help`." if context else ""))
        return error.exit_code
    if isinstance(error, UnicodeEncodeError):
        complain("An argument is not UTF-8 text.")
        return 2
    if isinstance(error, OSError) and error.filename is not None:
        complain(f"{error.filename}: {error.strerror}")
        return 2
    raise error
