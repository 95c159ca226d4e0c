"""The relay is a process of its own: whatever a handler does there, calls are answered, and other trackers' changes go on."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness import ship24
from tests.harness.service import DEADLINE_SECONDS, Service, serving, wait_until

HANDLERS = """
import asyncio, functools, os, pathlib, signal, sys, threading, time
from receiver.handlers import on_change

def write(change):
    with pathlib.Path("told").open("a") as file:
        file.write(change.tracker_id + "\\n")

class Quiet(Exception):
    def __str__(self):
        raise SystemExit(7)

async def aborts():
    raise asyncio.CancelledError

def close_files():
    os.closerange(3, 200)
    time.sleep(1000)

ACTS = {
    "system-exit": lambda: sys.exit(3),
    "keyboard-interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "stop-iteration": lambda: next(iter(())),
    "generator-exit": lambda: (_ for _ in ()).throw(GeneratorExit()),
    "own-timeout": lambda: (_ for _ in ()).throw(TimeoutError("of the shop")),
    "no-text": lambda: (_ for _ in ()).throw(Quiet()),
    "odd-text": lambda: (_ for _ in ()).throw(ValueError("a\\0b\\ud800" + "x" * 3_000_000)),
    "returns-awaitable": aborts,
    "hangs": lambda: time.sleep(1000),
    "ends-process": lambda: os._exit(5),
    "ends-process-as-if-well": lambda: os._exit(0),
    "ends-process-with-75": lambda: os._exit(75),
    "aborts-process": os.abort,
    "closes-files": close_files,
}

@on_change()
def act(change):
    write(change)
    return ACTS[change.tracker_id]() if change.tracker_id in ACTS else None

@on_change()
async def blocks(change):
    if change.tracker_id == "blocks-loop":
        time.sleep(1000)

@on_change()
@functools.wraps(write)
def wrapped(change):
    async def run():
        pathlib.Path("wrapped").touch()
    return run()
"""


@pytest.fixture
def running(tmp_path: Path, sqlite_url: str) -> Iterator[Service]:
    """A service with handlers that misbehave, one for each tracker id."""
    (tmp_path / "odd_handlers.py").write_text(HANDLERS, encoding="utf-8")
    with serving(tmp_path, sqlite_url, handlers="odd_handlers", handler_timeout_seconds="1", alarm_disk_percent="0") as service:
        yield service


def moved(tracker_id: str) -> bytes:
    return ship24.body(ship24.item(tracker_id=tracker_id, events=[ship24.event()]))


def told(running: Service) -> list[str]:
    file = running.directory / "told"
    return file.read_text().split() if file.exists() else []


def error_of(running: Service, tracker_id: str) -> str:
    """Return what is on record of a change: the error of a try, or of the last one."""
    for table in ("dispatches", "dead_changes"):
        for row in running.rows(f"SELECT error FROM {table} WHERE tracker_id = '{tracker_id}' AND error IS NOT NULL"):
            return str(row["error"])
    return ""


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("system-exit", "SystemExit: 3"),
        ("keyboard-interrupt", "KeyboardInterrupt"),
        ("stop-iteration", "StopIteration"),
        ("generator-exit", "GeneratorExit"),
        ("own-timeout", "TimeoutError: of the shop"),
        ("no-text", "Quiet"),
        ("odd-text", "xxx"),
        ("returns-awaitable", "CancelledError"),
        ("hangs", "within 1 seconds"),
        ("blocks-loop", "within 1 seconds"),
        ("ends-process", "ended 4 times"),
        ("ends-process-as-if-well", "ended 4 times"),
        ("ends-process-with-75", "ended 4 times"),
        ("aborts-process", "ended 4 times"),
        ("closes-files", "ended 4 times"),
    ],
)
def test_whatever_a_handler_does_is_on_record_and_touches_nothing_else(running: Service, act: str, words: str) -> None:
    running.post(moved("before"))
    assert running.post(moved(act)).status == 200
    assert running.post(moved("after")).status == 200
    wait_until(lambda: words in error_of(running, act), "the outcome is on record")
    wait_until(lambda: {"before", "after"} <= set(told(running)), "other trackers' changes go on")
    assert running.get("/healthz").status == 200
    assert running.post(moved("later")).status == 200
    wait_until(lambda: "later" in told(running), "changes that come later go on")
    wait_until((running.directory / "wrapped").exists, "the awaitable that a handler returned is awaited")
    assert running.stop() == 0


def test_after_a_kill_of_the_service_its_processes_end_whatever_a_handler_does(running: Service) -> None:
    running.post(moved("hangs"))
    wait_until(lambda: "hangs" in told(running), "the handler hangs")
    assert running.process is not None
    family = psutil.Process(running.process.pid).children(recursive=True)
    os.kill(running.process.pid, signal.SIGKILL)
    assert len(family) >= 2, "a relay that hangs is replaced now and then"
    assert psutil.wait_procs(family, timeout=DEADLINE_SECONDS)[1] == []


def test_a_relay_that_ended_is_told_to_operators_and_calls_stay_welcome(running: Service) -> None:
    wait_until(lambda: running.get("/readyz").json()["warnings"] == [], "the relay runs")
    running.post(moved("ends-process"))
    wait_until(lambda: "relay" in running.get("/readyz").json()["warnings"], "readiness warns")
    assert running.get("/readyz").status == 200
    assert "relay_ended" in running.logs()
    wait_until(lambda: running.get("/readyz").json()["warnings"] == [], "the relay runs again")
