"""The `receiver` command, and how a command ends.

Exit codes: 0 done; 1 the answer is no (not found, unhealthy, database unavailable, operator said no, output not written); 2 wrong
use or configuration; 130 interrupted. A command ends quietly when the reader of its output closes the pipe.
"""

import io
import os
import signal
import sys
from pathlib import Path

import click
from click.shell_completion import shell_complete

from receiver import __version__
from receiver.cli._commands import COMMANDS, COMPLETE_VARIABLE, LazyGroup
from receiver.cli._errors import end_line, report
from receiver.errors import ReceiverError

_NAME = "receiver"
_INTERRUPTED = 128 + signal.SIGINT  # the exit code that shells give a command ended by Ctrl-C


@click.group(
    cls=LazyGroup,
    entries=COMMANDS,
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
    if instruction := os.environ.get(COMPLETE_VARIABLE):
        return shell_complete(commands, {}, _NAME, COMPLETE_VARIABLE, instruction)
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
