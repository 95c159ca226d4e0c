"""The `receiver` command: the list of commands, their groups, and how a command ends.

Exit codes: 0 done; 1 the answer is no (not found, unhealthy, database unavailable, operator said no, output not written); 2 wrong
use or configuration; 130 interrupted. A command ends quietly when the reader of its output closes the pipe.
"""

import io
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

import click
from click.shell_completion import shell_complete

from receiver import __version__
from receiver.cli._errors import end_line, report
from receiver.errors import ReceiverError

_NAME = "receiver"
_INTERRUPTED = 128 + signal.SIGINT  # the exit code that shells give a command ended by Ctrl-C

_GROUPS = {
    "Serve": {
        "init": "Create .env if there is none, and print the URLs.",
        "migrate": "Upgrade the database schema (safe to repeat).",
        "serve": "Run the service until SIGTERM or Ctrl-C.",
        "relay": "Deliver changes to targets in a separate process.",
        "healthcheck": "Ask the running service whether it is ready.",
    },
    "Look": {
        "doctor": "Check configuration, database and server.",
        "explain": "Explain what happened to a message, a delivery or a tracker.",
        "trackers": "List trackers and show their timelines.",
        "deliveries": "List, show, import and reprocess deliveries.",
        "messages": "List messages and their verdicts.",
        "quarantine": "List, retry, dismiss and reopen what could not be applied.",
        "stats": "Show traffic statistics.",
        "alarms": "List alarms, and test how they are sent.",
        "audit": "List changes made by operators.",
        "downtime": "List when deliveries may have been lost.",
        "changes": "List changes and their state for each target.",
        "targets": "List targets, and retry or remove their changes.",
        "customers": "List, import, export and restore customers for Shiipp.",
    },
    "Change": {
        "setup-window": "Temporarily accept SOURCE from any IP address.",
        "prune": "Delete data past its retention period.",
        "forget": "Delete the personal data of a tracker or of a person.",
    },
    "Recover": {
        "reconcile": "Find what never came at the vendor, and bring it in.",
        "backup": "Copy the SQLite database into a file.",
        "restore": "Put a copy in the place of the SQLite database.",
        "rebuild": "Rebuild the database from stored deliveries.",
    },
    "Test": {
        "simulate": "Simulate Ship24 or Shiipp, and report the results.",
        "check": "Check a receiver of Ship24 webhooks, this one or any other.",
    },
}
"""Summary of each command. Written down here, so that `--help` and a command need not import the other commands."""

_COMMANDS = [name for group in _GROUPS.values() for name in group]
_NAME_WIDTH = max(map(len, _COMMANDS))


class _Commands(click.Group):
    """All commands, each imported when it runs from the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return _COMMANDS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or return None."""
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(import_module(f"receiver.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command to run, or name the most similar ones."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=_COMMANDS, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by group."""
        for group, commands_of_group in _GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(name.ljust(_NAME_WIDTH), summary) for name, summary in commands_of_group.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`receiver COMMAND --help` lists the options of a command.",
)
@click.version_option(__version__)
def commands() -> None:
    """Receive parcel-tracking webhooks from Ship24 and Shiipp."""


def main() -> None:
    """Run a command and end the process. Print an error in one line, never as a traceback."""
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
        code = report(error)
    _drop_unwritten()
    sys.exit(code)


def _run() -> int:
    """Run the command that the arguments name. Return its exit code once all output is written."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # escape characters that the terminal cannot show
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
    """Open closed standard files (`2>&-`) to nowhere. Otherwise the database gets their numbers, and their text."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  open until the process ends


def _drop_unwritten() -> None:
    """Drop output that a standard file did not take. Otherwise the interpreter tries again at its end, and fails."""
    for number, file in ((1, sys.stdout), (2, sys.stderr)):
        try:
            file.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
