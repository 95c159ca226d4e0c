"""A `receiver` command inside the test's process: costs a tenth of a process, for what a command does, says and answers.

Folder, environment and standard files are the command's own until it ends. What only a process shows (its real end, a signal to
it, a lock on a file that the test has open) needs `run_process`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from threading import current_thread, main_thread
from typing import IO

import pytest

from receiver import cli
from tests.harness.fork_server import open_standard_files
from tests.harness.service import DEADLINE_SECONDS, start_command

OWN_PROCESS = frozenset({"serve", "relay", "migrate", "reconcile"})
"""Commands that set up logs or signals for all of their process: they always get one of their own."""


def run_command(*arguments: str, cwd: Path, env: Mapping[str, str], typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run one `receiver` command with input to its end, in this process if possible."""
    run_here = arguments[0] not in OWN_PROCESS
    with _files(typed) as files:
        code = (run_with_files if run_here else _run_process)(*arguments, cwd=cwd, env=env, files=files)
        return subprocess.CompletedProcess(arguments, code, *map(_read_text, files[1:]))


def run_process(
    *arguments: str, cwd: Path, env: Mapping[str, str], typed: str = "", seconds: float = DEADLINE_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run one `receiver` command with input in its own process to its end, which must come within `seconds`."""
    with _files(typed) as files:
        code = _run_process(*arguments, cwd=cwd, env=env, files=files, seconds=seconds)
        return subprocess.CompletedProcess(arguments, code, *map(_read_text, files[1:]))


@contextmanager
def _files(typed: str) -> Iterator[Sequence[IO[bytes]]]:
    with TemporaryFile() as keyboard, TemporaryFile() as out, TemporaryFile() as err:
        keyboard.write(typed.encode())
        keyboard.seek(0)
        yield keyboard, out, err


def _read_text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _run_process(
    *arguments: str, cwd: Path, env: Mapping[str, str], files: Sequence[IO[bytes]], seconds: float = DEADLINE_SECONDS
) -> int:
    process = start_command(*arguments, cwd=cwd, env=env, files=files)
    try:
        return process.wait(seconds)
    finally:
        process.kill()
        process.wait()


def run_with_files(*arguments: str, cwd: Path, env: Mapping[str, str], files: Sequence[IO[bytes]]) -> int:
    """Run a command with these files as its standard input, output and error; return its exit code."""
    assert arguments[0] not in OWN_PROCESS, "it takes over logs and signals of its process"
    assert current_thread() is main_thread(), "folder, environment and files are those of all threads"
    with _surroundings(arguments, cwd, env), _standard_files(files), pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@contextmanager
def _surroundings(arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Lend the command its arguments, folder and environment, and take back how it hears of Ctrl-C."""
    before = Path.cwd(), dict(os.environ), sys.argv, signal.getsignal(signal.SIGINT)
    os.chdir(cwd)
    _set_environment(env)
    sys.argv = ["receiver", *arguments]
    try:
        yield
    finally:
        folder, environment, sys.argv, heard = before
        os.chdir(folder)
        _set_environment(environment)
        signal.signal(signal.SIGINT, heard)


def _set_environment(env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)


@contextmanager
def _standard_files(files: Sequence[IO[bytes]]) -> Iterator[None]:
    """Lend the command its standard files."""
    before = sys.stdin, sys.stdout, sys.stderr
    kept = [os.dup(number) for number in range(3)]
    try:
        open_standard_files([file.fileno() for file in files])
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        for number, file in enumerate(kept):
            os.dup2(file, number)
            os.close(file)
