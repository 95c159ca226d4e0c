"""One service under load: its processes, started and ended by us, and the memory they take."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 30
_STOP_SECONDS = 30
_SAMPLE_SECONDS = 0.2


class MemoryWatch(threading.Thread):
    """Samples how much memory a process and its children take, shared pages by share (PSS)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._peaks: dict[int, int] = {}
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            with suppress(psutil.NoSuchProcess):
                for process in (self._process, *self._process.children(recursive=True)):
                    self._peaks[process.pid] = max(self._peaks.get(process.pid, 0), process.memory_full_info().pss)

    def stop(self) -> int:
        """Return the sum of the processes' peaks in bytes."""
        self._over.set()
        self.join()
        return sum(self._peaks.values())


@contextmanager
def serving(arguments: Sequence[str], settings: Mapping[str, str], directory: Path, port: int) -> Iterator[MemoryWatch]:
    """Run `python -m ARGUMENTS` in `directory` until the block ends; when the block begins it takes connections."""
    with (directory / "log").open("a") as log:
        process = subprocess.Popen(_command(arguments), env=_environment(settings), cwd=directory, stdout=log, stderr=log)
    watch = MemoryWatch(process.pid)
    try:
        _wait_for(process, port, directory / "log")
        watch.start()
        yield watch
    finally:
        _end(process)


def run(arguments: Sequence[str], settings: Mapping[str, str], directory: Path) -> None:
    """Run `python -m ARGUMENTS` in `directory` to its end."""
    subprocess.run(_command(arguments), env=_environment(settings), cwd=directory, check=True, capture_output=True, timeout=120)


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", *arguments]


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
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
