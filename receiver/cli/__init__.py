"""The `receiver` command: one file a noun, one function an action.

Exit codes: 0 done; 1 the answer is no (not found, unhealthy, storage away, operator said no, output not written); 2 wrong use or
configuration; 130 interrupted. A reader who closes the pipe ends a command quietly.
"""

import errno
import io
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

import click
from click.shell_completion import shell_complete

from receiver import __version__
from receiver.cli._errors import complain, end_line
from receiver.errors import ConfigurationError, NoDatabase, ReceiverError, SchemaOutdated, WriterTaken

_NAME = "receiver"
_WRONG_USE = (ConfigurationError, SchemaOutdated, WriterTaken)
_INTERRUPTED = 128 + signal.SIGINT  # what shells say of a command that Ctrl-C has ended
_NOT_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

_MODULES = {
    "init": "serve",
    "migrate": "database",
    "serve": "serve",
    "relay": "relay",
    "doctor": "doctor",
    "check": "check",
    "explain": "explain",
    "trackers": "trackers",
    "deliveries": "deliveries",
    "quarantine": "status",
    "stats": "status",
    "alarms": "status",
    "audit": "status",
    "customers": "customers",
    "targets": "targets",
    "rebuild": "database",
    "setup-window": "setup_window",
    "prune": "prune",
    "forget": "forget",
    "simulate": "simulate",
}
"""Which file has a command, as a function of the command's name. The others need not be in memory while one runs."""


class _Commands(click.Group):
    """All commands, each imported when it is asked for."""

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


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Receive parcel-tracking webhooks from Ship24 and Shiipp: kept, once, forward only."""


def main() -> None:
    """Run a command and end the process; whatever ends a command is told here, never by a traceback."""
    try:
        _open_standard_files()
        code = _run()
    except BrokenPipeError:
        code = 0
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends it at once
        end_line()
        code = _INTERRUPTED
    except (click.ClickException, ReceiverError, UnicodeEncodeError, OSError) as error:
        code = _explain(error)
    _drop_unwritten()
    sys.exit(code)


def _run() -> int:
    """Run the command that the arguments name, and return its exit code once everything is written."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal with few characters is no reason to fail
    if instruction := os.environ.get("_RECEIVER_COMPLETE"):
        return shell_complete(commands, {}, _NAME, "_RECEIVER_COMPLETE", instruction)
    code = 0
    try:
        with commands.make_context(_NAME, sys.argv[1:]) as context:
            commands.invoke(context)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    sys.stdout.flush()
    return code


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
    if isinstance(error, NoDatabase):
        error = _ask_service(error)
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
    assert isinstance(error, OSError)
    reason = error.strerror or str(error)
    if error.filename is not None:
        complain(f"{error.filename}: {reason}")
        return 2
    complain(f"Cannot write the output: {reason}." if error.errno in _NOT_WRITTEN else f"{reason}.")
    return 1


def _ask_service(error: NoDatabase) -> ReceiverError:
    """Ask the running service whether it had the database that is not there."""
    explained = import_module("receiver.cli._remote").explain_no_database(error)  # few commands end here
    assert isinstance(explained, ReceiverError)
    return explained


def _drop_unwritten() -> None:
    """Let what a standard file did not take go nowhere; otherwise the interpreter tries again at its end, and fails."""
    for number, file in ((1, sys.stdout), (2, sys.stderr)):
        try:
            file.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
