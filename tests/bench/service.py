"""One service under load: starts and ends its processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import psutil

from tests.bench.memory import MemoryWatch

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 30
_STOP_SECONDS = 30
_RUN_SECONDS = 120


class Process:
    """A service that takes connections."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self._port = port
        self.memory = MemoryWatch(process.pid)

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Let nothing of it run while the block does."""
        family = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]
        try:
            for process in family:
                process.suspend()
            yield
        finally:
            for process in family:
                process.resume()

    def read_metrics(self, *names: str) -> list[float]:
        """Return values of metrics without labels, in this order."""
        with urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return [float(found[name]) for name in names]


@contextmanager
def serving(
    command: Sequence[str], settings: Mapping[str, str], directory: Path, port: int, prefix: Sequence[str] = ()
) -> Iterator[Process]:
    """Run a command in `directory` until the block ends; when the block begins it takes connections.

    `prefix` is a command that runs commands.
    """
    with (directory / "log").open("a") as log:
        process = subprocess.Popen([*prefix, *command], env=environment(settings), cwd=directory, stdout=log, stderr=log)
    try:
        _wait_for(process, port, directory / "log")
        running = Process(process, port)
        running.memory.start()
        yield running
        running.memory.stop()
    finally:
        _end(process)


def run(arguments: Sequence[str], settings: Mapping[str, str], directory: Path) -> None:
    """Run `python -m ARGUMENTS` in `directory` to its end."""
    subprocess.run(
        python(*arguments), env=environment(settings), cwd=directory, check=True, capture_output=True, timeout=_RUN_SECONDS
    )


def python(*arguments: str) -> list[str]:
    """Return the command `python -m ARGUMENTS`."""
    return [sys.executable, "-m", *arguments]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without what might configure a service, with `settings`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER_")}
    for name in ("DATABASE_URL", "PORT"):
        inherited.pop(name, None)
    return {**inherited, "PYTHONPATH": str(_ROOT), **settings}


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the service did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, and its children with it; insist if it does not."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    psutil.wait_procs(children, timeout=_STOP_SECONDS)
