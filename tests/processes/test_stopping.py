"""Stopping: a service ends within a bounded time whatever hangs, and at once after a second signal."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import lacking
from tests.harness import ship24
from tests.harness.service import DEADLINE_SECONDS, ROOT, Service, wait_until
from tests.harness.storage import make_tables

HANDLERS = """
import pathlib, subprocess, time
from receiver.handlers import on_change

@on_change()
def hang(change):
    if change.tracker_id == "orphan":
        subprocess.Popen(["sh", "-c", "sleep 1000 & echo $! > orphan"])
        return
    pathlib.Path("hangs").touch()
    time.sleep(1000)
"""
STOP_SECONDS = 6.0


class Stoppable(Service):
    """A service whose stop may take STOP_SECONDS."""

    family: list[psutil.Process]

    def begin(
        self, *prefix: str, program: Sequence[str] = ("serve_with_stop_limit", str(STOP_SECONDS))
    ) -> subprocess.Popen[bytes]:
        """Start the process, with a program of the harness and its arguments."""
        command = [*prefix, sys.executable, "-m", f"tests.harness.{program[0]}", *program[1:]]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, cwd=self.directory, env=self.env, stderr=log, stdout=log)
        self.process = process
        return process

    def await_service(self) -> psutil.Process:
        """Wait until it serves; return the service's process, without a wrapper."""
        wait_until(self._serves, "the service serves")
        assert self.process is not None
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        return psutil.Process(self.process.pid)

    def ended_with(self) -> int:
        """Wait for the end; return the exit code."""
        assert self.process is not None
        code = self.process.wait(DEADLINE_SECONDS)
        assert psutil.wait_procs(self.family, timeout=DEADLINE_SECONDS)[1] == [], "nothing of it is left"
        return code


@contextmanager
def stoppable(folder: Path, url: str, **settings: str) -> Iterator[Stoppable]:
    make_tables(url)
    running = Stoppable(folder, url, **settings)
    running.env["PYTHONPATH"] = str(ROOT)
    try:
        yield running
    finally:
        if running.process is not None:
            for process in (running.process, *getattr(running, "family", [])):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            running.process.wait()


@pytest.fixture
def running(tmp_path: Path, sqlite_url: str) -> Iterator[Stoppable]:
    """A service whose handler hangs, not started."""
    (tmp_path / "slow_handlers.py").write_text(HANDLERS, encoding="utf-8")
    with stoppable(tmp_path, sqlite_url, handlers="slow_handlers") as service:
        yield service


def hang(running: Stoppable) -> None:
    running.post(ship24.single())
    wait_until((running.directory / "hangs").exists, "the handler hangs")


def test_a_handler_that_hangs_is_left_in_time_and_its_change_given_back(running: Stoppable) -> None:
    running.begin()
    service = running.await_service()
    hang(running)
    service.terminate()
    assert running.ended_with() == 0
    (row,) = running.table("dispatches", "claim", "attempts", "unsettled")
    assert [*map(str, row.values())] == ["None", "0", "0"], "the change was given back, and nobody is blamed"


def test_a_writing_process_that_was_stopped_by_a_signal_is_killed_in_time(running: Stoppable) -> None:
    running.begin()
    service = running.await_service()
    hang(running)
    for process in running.family:
        process.suspend()
    service.terminate()
    assert running.ended_with() == 1


@pytest.mark.parametrize("where", ["assembly", "start"])
def test_an_error_of_our_own_ends_the_service_and_its_processes_with_one_line(running: Stoppable, where: str) -> None:
    process = running.begin(program=("failing_start", where))
    assert process.wait(DEADLINE_SECONDS) == 1
    lines = [line for line in running.logs().splitlines() if "ZeroDivisionError" in line]
    assert len(lines) == 1
    assert '"level":"error"' in lines[0].replace(" ", "")
    assert "writer_killed" not in running.logs()


def test_a_client_that_drips_holds_up_nothing(running: Stoppable) -> None:
    running.begin()
    service = running.await_service()
    with running.socket() as client:
        client.sendall(b"POST /webhooks/ship24 HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        service.terminate()
        assert running.ended_with() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once(running: Stoppable, number: signal.Signals, code: int) -> None:
    running.begin()
    service = running.await_service()
    hang(running)
    running.family[-1].suspend()
    service.send_signal(number)
    wait_until(lambda: '"stop_requested"' in running.logs() or _listens_no_more(running), "it has heard the first one")
    service.send_signal(number)
    assert running.ended_with() == code


def _listens_no_more(running: Stoppable) -> bool:
    try:
        with running.socket():
            return False
    except OSError:
        return True


def test_as_process_1_a_signal_in_the_first_second_counts_and_orphans_are_reaped(running: Stoppable) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        lacking("only root can have a process 1 of its own (unshare)")
    prefix = (unshare, "--pid", "--fork", "--kill-child")
    early = running.begin(*prefix)
    wait_until(lambda: psutil.Process(early.pid).children(), "process 1 is there")
    (first,) = psutil.Process(early.pid).children()
    wait_until(first.children, "it has the command as its child")
    first.terminate()
    assert early.wait(DEADLINE_SECONDS) in {0, 143}
    running.begin(*prefix)
    (first,) = running.await_service().children()
    running.post(ship24.body(ship24.item(tracker_id="orphan", events=[ship24.event()])))
    wait_until((running.directory / "orphan").exists, "a handler has left a process behind")
    first.terminate()
    assert running.ended_with() == 0
