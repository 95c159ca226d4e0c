"""A fork server that runs `python -m receiver …` quickly: it has imported everything and forks for each command.

A command finds what it would find in a new interpreter: its arguments, environment, folder, standard files and the network of the
thread that starts it, in a process of its own that ends as any other does. What an interpreter reads at its own start is the
starter's, though: whoever wants another time zone or hash seed needs a new interpreter (`can_start`).
"""

import atexit
import ctypes
import gc
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from io import FileIO, TextIOWrapper
from pathlib import Path
from typing import IO

import click

from receiver.cli import commands
from receiver.service import try_application
from receiver.settings import Settings

_ROOT = Path(__file__).resolve().parents[2]
_NUMBER = struct.Struct("!i")
_NETWORK = Path("/proc/thread-self/ns/net")
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_SENSIBLE = {"ship24_tokens": "a-token-of-no-sender", "ops_tokens": "a-token-of-no-operator"}
BASE = {"PATH": os.defpath, "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"}
"""The environment of a command, but for what the command itself reads."""
READ_BY_COMMANDS = ("RECEIVER_", "CHECK_", "SIMULATE_", "DATABASE_URL", "PORT", "COLUMNS", "FORCE_COLOR", "NO_COLOR")
"""How names of variables begin that change what a command does, and nothing that an interpreter does at its start."""


class StartedCommand:
    """A command under way: what `subprocess.Popen` tells of a process, as far as it is asked here."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.returncode: int | None = None
        self.pid = self._read()

    def poll(self) -> int | None:
        """Return the exit code, or None if there is none yet."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code; a signal that was its cause is a negative one."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                status = self._read()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from None
            self.returncode = os.waitstatus_to_exitcode(status)
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that has not ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read(self) -> int:
        data = self._connection.recv(_NUMBER.size)
        if len(data) != _NUMBER.size:
            raise RuntimeError("the process that starts commands is gone")
        return int(_NUMBER.unpack(data)[0])


def can_start(env: Mapping[str, str]) -> bool:
    """Tell whether a fork of the starter is as good as a new interpreter with this environment."""
    return {name: value for name, value in env.items() if not name.startswith(READ_BY_COMMANDS)} == BASE


def start(arguments: Sequence[str], cwd: Path, env: Mapping[str, str], files: Sequence[IO[bytes]]) -> StartedCommand:
    """Start a command with these files as its standard input, output and error."""
    ours, theirs = socket.socketpair()
    with theirs, _NETWORK.open("rb") as network:
        sent = [theirs.fileno(), network.fileno(), *(file.fileno() for file in files)]
        socket.send_fds(_connection(), [b"!"], sent)
    ours.sendall(json.dumps([list(arguments), str(cwd), dict(env)]).encode() + b"\n")
    return StartedCommand(ours)


@cache
def _connection() -> socket.socket:
    """Return the connection to the starter, which lives as long as this process."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "tests.harness.fork_server"]
        process = subprocess.Popen(command, cwd=_ROOT, env=BASE, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _attend() -> bool:
    """Fork for every command until all clients are gone; return whether this is such a fork."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the tests
    for name in commands.list_commands(click.Context(commands)):
        commands.get_command(click.Context(commands), name)  # imports what each command would have to import
    _prepare_service()
    gc.freeze()  # forks need not look through what was imported
    with socket.socket(fileno=os.dup(0)) as connection:
        while True:
            asked, files, _, _ = socket.recv_fds(connection, 1, 5)
            if not asked:
                return False
            if os.fork() == 0:
                break
            for file in files:
                os.close(file)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    _become_command(files)
    return True


def _prepare_service() -> None:
    """Do what each service would do anew: import what uvicorn finds by name, and compile the patterns of all routes."""
    for module in ("lifespan.on", "loops.uvloop", "protocols.http.httptools_impl"):
        import_module(f"uvicorn.{module}")
    try_application(Settings.model_validate(_SENSIBLE))


def _become_command(files: Sequence[int]) -> None:
    """Fork once more, so that one process waits for the other and tells its exit code; the one that returns is the command."""
    with socket.socket(fileno=files[0]) as connection:
        process_id = os.fork()
        if process_id:
            _report(process_id, connection)
        with connection.makefile("rb") as lines:
            arguments, cwd, env = json.loads(lines.readline())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _enter_network(files[1])
    open_standard_files(files[2:])
    for file in files[1:]:
        os.close(file)
    os.chdir(cwd)
    os.environ.update(env)
    sys.path[0] = cwd
    sys.argv[1:] = arguments


def _enter_network(file: int) -> None:
    """Move into a network namespace, unless this process is in it."""
    if os.fstat(file).st_ino != _NETWORK.stat().st_ino and ctypes.CDLL(None, use_errno=True).setns(file, _NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "no other network can be entered here")


def open_standard_files(files: Sequence[int]) -> None:
    """Make these files standard input, output and error of this process, as an interpreter opens them."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    sys.stdin = os.fdopen(0, closefd=False)  # those from before know of files of another kind
    sys.stdout, sys.stderr = (TextIOWrapper(FileIO(number, "w", closefd=False), "utf-8", write_through=True) for number in (1, 2))


def _report(process_id: int, connection: socket.socket) -> None:
    connection.sendall(_NUMBER.pack(process_id))
    _, status = os.waitpid(process_id, 0)
    with suppress(OSError):  # its client is gone
        connection.sendall(_NUMBER.pack(status))
    os._exit(0)


if __name__ == "__main__" and _attend():
    runpy.run_module("receiver", run_name="__main__", alter_sys=True)
