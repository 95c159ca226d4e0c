"""How every command ends: interrupted, declined, with output that cannot be written, used wrongly."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import click
import pytest

from receiver.cli import commands
from tests.harness import command
from tests.harness.rows import count_rows, table_rows
from tests.harness.service import DEADLINE_SECONDS, Process, environment, start_command, wait_until
from tests.harness.ship24 import body, event, item
from tests.harness.storage import make_tables
from tests.harness.store import opened
from tests.harness.table import each_row

FULL = Path("/dev/full")


def walk(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give every command with the words that name it, and the groups that lead there."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield (*path, name), found
        if isinstance(found, click.Group):
            yield from walk(found, (*path, name))


EVERY = dict(walk(commands))
LEAVES = {words: found for words, found in EVERY.items() if not isinstance(found, click.Group)}
every_command = each_row("words", EVERY, ids=" ".join)


class Ended(NamedTuple):
    """How a command ended, and what it said on standard error."""

    code: int
    err: str


class Place(NamedTuple):
    """A folder for commands with a pipe that has no writer."""

    folder: Path
    env: dict[str, str]

    @property
    def pipe(self) -> Path:
        return self.folder / "pipe"

    def start(self, *arguments: str, out: IO[bytes], err: IO[bytes]) -> Process:
        """Start a command in a process of its own."""
        with Path(os.devnull).open("rb") as nothing:
            return start_command(*arguments, cwd=self.folder, env=self.env, files=(nothing, out, err))

    def run(self, *arguments: str, out: IO[bytes]) -> Ended:
        """Run a command that prints to `out`, in this process if it can."""
        if arguments[0] in command.OWN_PROCESS:
            return self.run_process(*arguments, out=out)
        with Path(os.devnull).open("rb") as nothing, TemporaryFile() as err:
            code = command.run_with_files(*arguments, cwd=self.folder, env=self.env, files=(nothing, out, err))
            err.seek(0)
            return Ended(code, err.read().decode())

    def run_process(self, *arguments: str, out: IO[bytes]) -> Ended:
        """Run a command that prints to `out` in a process of its own, to the end of its interpreter."""
        with TemporaryFile() as err:
            process = self.start(*arguments, out=out, err=err)
            try:
                code = process.wait(DEADLINE_SECONDS)
            finally:
                process.kill()
            err.seek(0)
            return Ended(code, err.read().decode())


@pytest.fixture
def place(tmp_path: Path, sqlite_url: str) -> Place:
    found = Place(tmp_path, environment(sqlite_url))
    os.mkfifo(found.pipe)
    return found


@pytest.fixture
def filled(place: Place, sqlite_url: str) -> Place:
    make_tables(sqlite_url)
    with opened(sqlite_url) as store:
        store.keep(
            body(
                item("first", "T1", [event("now", "2025-03-02T10:00:00")]),
                item("bad", "T2", [event("x", "2099-01-01T10:00:00Z")]),
            )
        )
    return place


@contextmanager
def nobody_reads() -> Iterator[IO[bytes]]:
    """Give the end of a pipe whose other end is closed."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "wb") as out:
        yield out


def one_line(ended: Ended) -> bool:
    return ended.err.startswith("receiver: ") and ended.err.count("\n") == 1


OWN_PROCESS = [words for words in LEAVES if words[0] in command.OWN_PROCESS]
WITHOUT_SETTINGS = [("targets", "secret"), ("completion",)]
SPECIAL = {
    ("check",): ["http://127.0.0.1:9"],
    ("simulate",): ["http://127.0.0.1:9", "--token-file", "pipe"],
    ("deliveries", "replay"): ["some"],
    ("forget",): ["--tracker", "some"],
    ("quarantine", "retry"): ["some"],
    ("quarantine", "dismiss"): ["some"],
    ("quarantine", "reopen"): ["some"],
    ("reconcile", "ship24"): ["--all"],
    ("reconcile", "shiipp"): ["--file", "some"],
}
"""Commands that want more than their required parameters, or read no settings."""


def needed(words: tuple[str, ...]) -> Iterator[str]:
    """Give the arguments without which a command does not start."""
    yield from SPECIAL.get(words, ())
    for parameter in [] if words in SPECIAL else LEAVES[words].params:
        if parameter.required:
            yield from parameter.opts[:1] if isinstance(parameter, click.Option) else ()
            yield parameter.type.choices[0] if isinstance(parameter.type, click.Choice) else "some"


@contextmanager
def writing_to(pipe: Path) -> Iterator[None]:
    """Wait until somebody reads a pipe, and let them wait for us as long as the block lasts."""
    opened_files: list[int] = []

    def is_read() -> bool:
        with suppress(OSError):
            opened_files.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(opened_files)

    wait_until(is_read, "somebody reads the pipe")
    try:
        yield
    finally:
        os.close(opened_files[0])


def interrupt_reader(pipe: Path) -> None:
    """Send Ctrl-C to the reader of a pipe in this process."""
    with writing_to(pipe):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def read_from(place: Place) -> Place:
    """A folder where every command waits: its settings come from a pipe."""
    (place.folder / "some").write_text("UserCode\nA\n")
    place.env["RECEIVER_CONFIG"] = "pipe"
    return place


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file may be open and nobody's yet
@each_row("words", [words for words in LEAVES if words not in [*OWN_PROCESS, *WITHOUT_SETTINGS]], ids=" ".join)
def test_ctrl_c_ends_a_command_with_130_and_no_word(read_from: Place, words: tuple[str, ...]) -> None:
    with TemporaryFile() as out, ThreadPoolExecutor(1) as thread:
        pressed = thread.submit(interrupt_reader, read_from.pipe)
        assert read_from.run(*words, *needed(words), out=out) == (130, "\n")
        pressed.result()


@each_row("words", [*OWN_PROCESS, ("stats",)], ids=" ".join)
def test_ctrl_c_ends_a_process_with_130_and_no_word(read_from: Place, words: tuple[str, ...]) -> None:
    with TemporaryFile() as out, TemporaryFile() as err:
        process = read_from.start(*words, *needed(words), out=out, err=err)
        try:
            with writing_to(read_from.pipe):
                process.send_signal(signal.SIGINT)
            assert (
                process.wait(DEADLINE_SECONDS) == 130
            )  # a signal just before `read` is heard when that returns: at the end of the pipe
        finally:
            process.kill()
        err.seek(0)
        assert err.read() == b"\n"


def test_ctrl_c_works_before_anything_large_is_loaded() -> None:
    script = "import sys, receiver.cli; print([name for name in ('rich', 'sqlalchemy', 'pydantic') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout == b"[]\n"


@every_command
def test_an_option_that_there_is_not_is_one_line_and_2(place: Place, words: tuple[str, ...]) -> None:
    with TemporaryFile() as out:
        ended = place.run(*words, "--no-such-option", out=out)
    assert (ended.code, one_line(ended)) == (2, True)


@every_command
def test_help_that_cannot_be_written_is_one_line_and_1(place: Place, words: tuple[str, ...]) -> None:
    with FULL.open("wb") as out:
        assert place.run(*words, "--help", out=out) == FULL_ENDING


@every_command
def test_help_into_a_closed_pipe_ends_quietly(place: Place, words: tuple[str, ...]) -> None:
    with nobody_reads() as out:
        assert place.run(*words, "--help", out=out) == (0, "")


SHOWING = [
    ["init"],
    ["migrate"],
    ["doctor"],
    ["explain", "first"],
    ["trackers", "list"],
    ["trackers", "show", "T1"],
    ["deliveries", "list"],
    ["deliveries", "list", "--follow"],
    ["deliveries", "show", "ID"],
    ["deliveries", "show", "ID", "--body"],
    ["deliveries", "replay", "ID", "--yes"],
    ["messages", "list"],
    ["quarantine", "list"],
    ["stats"],
    ["alarms", "list"],
    ["audit", "list"],
    ["customers", "import", "some"],
    ["customers", "list", "--last-sync"],
    ["targets", "list"],
    ["targets", "dead"],
    ["rebuild", "--into", "sqlite:///other.db"],
    ["setup-window", "ship24"],
    ["prune"],
    ["forget", "--tracker", "ship24/T1", "--yes"],
]
every_shown = each_row("arguments", SHOWING, ids=" ".join)


@pytest.fixture
def showing(filled: Place) -> Place:
    """A folder with all that the commands name; rows leave nothing behind that another one lacks."""
    (filled.folder / "some").write_text("UserCode\nA\n")
    return filled


def named(place: Place, arguments: list[str]) -> list[str]:
    """Return the arguments, with the id of a delivery in them."""
    row = table_rows(place.env["RECEIVER_DATABASE_URL"], "deliveries", "id")[0]
    return [row["id"] if argument == "ID" else argument for argument in arguments]


FULL_ENDING = (1, "receiver: Cannot write the output: No space left on device.\n")


@every_shown
def test_output_that_cannot_be_written_is_one_line_and_1(showing: Place, arguments: list[str]) -> None:
    with FULL.open("wb") as out:
        assert showing.run(*named(showing, arguments), out=out) == FULL_ENDING


@every_shown
def test_output_into_a_closed_pipe_ends_a_command_quietly(showing: Place, arguments: list[str]) -> None:
    with nobody_reads() as out:
        assert showing.run(*named(showing, arguments), out=out) == (0, "")


@each_row("arguments", [["stats"], ["deliveries", "show", "ID", "--body"], ["trackers", "--help"]], ids=" ".join)
def test_a_process_ends_so_too_whose_interpreter_looks_at_its_output_once_more(showing: Place, arguments: list[str]) -> None:
    with FULL.open("wb") as full, nobody_reads() as unread:
        assert showing.run_process(*named(showing, arguments), out=full) == FULL_ENDING
        assert showing.run_process(*named(showing, arguments), out=unread) == (0, "")


def test_an_error_that_cannot_be_printed_keeps_its_exit_code(place: Place) -> None:
    with nobody_reads() as unread, FULL.open("wb") as full:
        for file in (unread, full):
            assert place.start("no-such-command", out=file, err=file).wait(DEADLINE_SECONDS) == 2


CONFIRMED = [["forget", "--tracker", "ship24/T1"], ["deliveries", "replay", "--since", "3650d", "--force"]]
every_confirmed = pytest.mark.parametrize("arguments", CONFIRMED, ids=" ".join)


def answered(place: Place, arguments: Sequence[str], answer: Callable[[int], None]) -> int:
    """Run a command on a terminal, answer from its other end when it asks; return the exit code."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    with os.fdopen(theirs, "rb+", buffering=0) as terminal, TemporaryFile() as out, ThreadPoolExecutor(1) as thread:
        asked = thread.submit(answer_prompt, ours, answer)
        try:
            code = command.run_with_files(*arguments, cwd=place.folder, env=place.env, files=(terminal, out, terminal))
            asked.result()
        finally:
            os.close(ours)
    return code


def answer_prompt(terminal: int, answer: Callable[[int], None]) -> None:
    seen = bytearray()

    def is_asked() -> bool:
        with suppress(BlockingIOError):
            seen.extend(os.read(terminal, 4096))
        return b"[y/N]: " in seen

    wait_until(is_asked, "it asks")
    answer(terminal)


def typing(data: bytes) -> Callable[[int], None]:
    """Return an answer that is typed."""

    def write(terminal: int) -> None:
        assert os.write(terminal, data) == len(data)

    return write


def press_ctrl_c(_terminal: int) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def audited(place: Place) -> int:
    return count_rows(place.env["RECEIVER_DATABASE_URL"], "audit")


@every_confirmed
def test_no_at_a_prompt_is_1_and_nothing_is_done(filled: Place, arguments: list[str]) -> None:
    for answer in (b"n\n", b"no\n", b"\n", b"perhaps\nn\n", b"\x04"):
        assert (answered(filled, arguments, typing(answer)), audited(filled)) == (1, 0), answer


@every_confirmed
def test_ctrl_c_at_a_prompt_is_130_and_nothing_is_done(filled: Place, arguments: list[str]) -> None:
    assert answered(filled, arguments, press_ctrl_c) == 130
    assert audited(filled) == 0


@every_confirmed
def test_yes_at_a_prompt_does_it(filled: Place, arguments: list[str]) -> None:
    assert answered(filled, arguments, typing(b"y\n")) == 0
    assert audited(filled) == 1


@every_confirmed
def test_an_answer_may_come_through_a_pipe_and_without_one_the_command_names_yes(filled: Place, arguments: list[str]) -> None:
    codes = {}
    for typed in ("", "n\n", "y\n"):
        done = command.run_command(*arguments, cwd=filled.folder, env=filled.env, typed=typed)
        codes[typed] = (done.returncode, done.stderr.splitlines()[-1][:58], audited(filled))
    assert codes[""] == (2, "receiver: No terminal to confirm on. Add --yes. See `recei", 0)
    assert codes["n\n"] == (1, "receiver: Nothing was changed.", 0)
    assert codes["y\n"][::2] == (0, 1)
