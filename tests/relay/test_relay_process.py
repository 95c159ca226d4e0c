"""The relay is its own process: whatever a handler does, deliveries are answered and other trackers' changes continue."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from receiver.relay.process_health import ProcessHealth
from tests.harness import ship24
from tests.harness.rows import Not
from tests.harness.service import DEADLINE_SECONDS, Service, serving, wait_until

_REPLACED_SECONDS = 2 * DEADLINE_SECONDS  # more than a relay may take for its first sign of life, before it is replaced

HANDLERS = """
import asyncio, functools, os, pathlib, resource, signal, sys, threading, time
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

kept = []

def leak_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, 150))
    while True:
        kept.append(open(os.devnull))

def leak_memory():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() - (100 << 20)  # the end of this thread gives back less than that
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        kept.append(bytearray(1 << 20))

def leak_threads():
    threading.stack_size(1 << 46)  # there is room for no further thread, as if there were too many
    threading.Thread(target=print).start()

def leak_files_unnoticed():
    try:
        leak_files()
    except OSError:
        pass

ACTS = {
    "leaks-files": leak_files,
    "leaks-memory": leak_memory,
    "leaks-threads": leak_threads,
    "leaks-files-unnoticed": leak_files_unnoticed,
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
    name = change.tracker_id.partition("/")[0]
    return ACTS[name]() if name in ACTS else None

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


@pytest.fixture
def anywhere(tmp_path: Path, database_url: str) -> Iterator[Service]:
    """The same service on each kind of database."""
    (tmp_path / "odd_handlers.py").write_text(HANDLERS, encoding="utf-8")
    with serving(tmp_path, database_url, handlers="odd_handlers", handler_timeout_seconds="5") as service:
        yield service


def moved(*tracker_ids: str) -> bytes:
    return ship24.body(*(ship24.item(tracker_id=tracker_id, events=[ship24.event()]) for tracker_id in tracker_ids))


def told(running: Service) -> list[str]:
    file = running.directory / "told"
    return file.read_text().split() if file.exists() else []


def error_of(running: Service, tracker_id: str) -> str:
    """Return the recorded error of a change: of a try, or of the last one."""
    for table in ("dispatches", "dead_changes"):
        for row in running.table(table, "error", tracker_id=tracker_id, error=Not(None)):
            return str(row["error"])
    return ""


def test_a_process_is_replaced_once_so_many_handlers_run_on() -> None:
    replaced: list[str] = []
    health = ProcessHealth(3, lambda: replaced.append("replaced"))
    found = []
    for _ in range(4):
        health.add_stuck_call()
        found.append(len(replaced))
    assert found == [0, 0, 1, 1]


RAISED = {
    "system-exit": "SystemExit: 3",
    "keyboard-interrupt": "KeyboardInterrupt",
    "stop-iteration": "StopIteration",
    "generator-exit": "GeneratorExit",
    "own-timeout": "TimeoutError: of the shop",
    "no-text": "Quiet",
    "odd-text": "xxx",
    "returns-awaitable": "CancelledError",
}
"""What a handler raises, by its act, and a word of it that is recorded."""


def test_whatever_a_handler_raises_is_recorded_and_affects_nothing_else(running: Service) -> None:
    running.post(moved("first"))
    wait_until(lambda: "first" in told(running), "the relay runs")
    family = relay_family(running)
    for act in RAISED:
        for tracker in (f"before/{act}", act, f"after/{act}"):
            assert running.post(moved(tracker)).status == 200
    for act, words in RAISED.items():
        wait_until(lambda a=act, w=words: w in error_of(running, a), f"the outcome of {act} is on record")  # type: ignore[misc]
    others = {f"{when}/{act}" for act in RAISED for when in ("before", "after")}
    wait_until(lambda: others <= set(told(running)), "other trackers' changes go on")
    assert relay_family(running) == family, "it goes on in the same process"
    assert running.stop() == 0


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("hangs", "within 1 seconds"),
        ("blocks-loop", "within 1 seconds"),
        ("ends-process", "ended 4 times"),
        ("ends-process-as-if-well", "ended 4 times"),
        ("ends-process-with-75", "ended 4 times"),
        ("aborts-process", "ended 4 times"),
        ("closes-files", "ended 4 times"),
        ("leaks-files", "ended 4 times"),
        ("leaks-memory", "ended 4 times"),
        ("leaks-threads", "ended 4 times"),
    ],
)
def test_whatever_a_handler_does_is_recorded_and_affects_nothing_else(running: Service, act: str, words: str) -> None:
    running.post(moved("before"))
    assert running.post(moved(act)).status == 200
    assert running.post(moved("after")).status == 200
    wait_until(lambda: words in error_of(running, act), "the outcome is on record")
    wait_until(lambda: {"before", "after"} <= set(told(running)), "other trackers' changes go on")
    assert running.get("/healthz").status == 200
    assert running.post(moved("later")).status == 200
    wait_until(lambda: "later" in told(running), "changes that come later go on", _REPLACED_SECONDS)
    wait_until((running.directory / "wrapped").exists, "the awaitable that a handler returned is awaited")
    assert running.stop() == 0


def test_many_that_end_their_process_neither_hold_up_nor_take_others_with_them(anywhere: Service) -> None:
    names = [f"healthy/{number}" if number % 8 else f"ends-process/{number}" for number in range(24)]
    for start in range(0, 24, 6):
        anywhere.post(moved(*names[start : start + 6]))
    wait_until(lambda: anywhere.count("dispatches") == 0, "nothing waits")
    assert set(told(anywhere)) == set(names)
    dead = anywhere.table("dead_changes", "tracker_id", "error", order="tracker_id")
    assert {row["tracker_id"] for row in dead} == {name for name in names if name.startswith("ends-process")}
    assert all("ended 4 times" in row["error"] for row in dead)


def test_a_relay_without_files_is_replaced_though_no_handler_failed(anywhere: Service) -> None:
    anywhere.post(moved("leaks-files-unnoticed"))
    wait_until(lambda: "It ran out of file descriptors." in anywhere.logs(), "the relay has noticed")
    anywhere.post(moved("after"))
    wait_until(lambda: "after" in told(anywhere), "another relay goes on")
    wait_until(lambda: anywhere.get("/readyz").json()["warnings"] == [], "operators see that it runs again")
    assert anywhere.table("dead_changes", "error") == []


def relay_family(running: Service) -> tuple[psutil.Process, psutil.Process]:
    """Return the process that starts relays, and the relay."""
    assert running.process is not None
    for forker in psutil.Process(running.process.pid).children():
        for relay in forker.children():
            return forker, relay
    raise LookupError("the relay does not run")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_starts_relays_is_replaced_when_it_is_lost(anywhere: Service, number: signal.Signals) -> None:
    for round_ in range(2):
        forker, relay = relay_family(anywhere)
        forker.send_signal(number)
        relay.kill()
        anywhere.post(moved(f"after-{round_}"))
        wait_until(lambda name=f"after-{round_}": name in told(anywhere), "another relay goes on")  # type: ignore[misc]
        wait_until(lambda: anywhere.get("/readyz").json()["warnings"] == [], "operators see that it runs again")
        assert not forker.is_running() or forker.status() == psutil.STATUS_ZOMBIE
    assert anywhere.logs().count("relay_forker_replaced") == 2
    family = psutil.Process(anywhere.process.pid).children(recursive=True)  # type: ignore[union-attr]
    assert anywhere.stop() == 0
    assert psutil.wait_procs(family, timeout=30)[1] == []


def test_after_a_kill_of_the_service_its_processes_end_whatever_a_handler_does(running: Service) -> None:
    running.post(moved("hangs"))
    wait_until(lambda: "hangs" in told(running), "the handler hangs")
    assert running.process is not None
    family = psutil.Process(running.process.pid).children(recursive=True)
    os.kill(running.process.pid, signal.SIGKILL)
    assert len(family) >= 2, "a relay that hangs is replaced now and then"
    assert psutil.wait_procs(family, timeout=DEADLINE_SECONDS)[1] == []


def test_operators_see_that_a_relay_ended_and_deliveries_are_still_accepted(running: Service) -> None:
    wait_until(lambda: running.get("/readyz").json()["warnings"] == [], "the relay runs")
    running.post(moved("ends-process"))
    wait_until(lambda: "relay" in running.get("/readyz").json()["warnings"], "readiness warns")
    assert running.get("/readyz").status == 200
    assert "relay_ended" in running.logs()
    wait_until(lambda: running.get("/readyz").json()["warnings"] == [], "the relay runs again")
