"""Handlers get each change after its commit, in the order of its tracker, and again until one call succeeds."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.harness import ship24
from tests.harness.command import run_command, run_process
from tests.harness.load import together
from tests.harness.rows import Not
from tests.harness.service import DEADLINE_SECONDS, Process, Service, serving, start_command, wait_until
from tests.harness.storage import update_rows

HANDLERS = """
import json, pathlib
from receiver.handlers import on_change

def write(name, change):
    line = json.dumps([name, change.tracker_id, change.sequence, change.id, change.status_milestone])
    with pathlib.Path("told").open("a") as file:
        file.write(line + "\\n")

@on_change()
def every(change):
    write("every", change)
    if change.tracker_id == "bad" and pathlib.Path("broken").exists():
        raise LookupError("no such order")

@on_change(sources=["ship24"], milestones=["delivered"])
async def delivered(change):
    write("delivered", change)

@on_change(milestone_changed=True)
def turned(change):
    write("turned", change)
"""

Told = list[list[Any]]
Start = Callable[..., Service]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a module of handlers, where the service is started and the handlers write."""
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "shop_handlers.py").write_text(HANDLERS, encoding="utf-8")
    return folder


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Start services with handlers: `start(url)`."""
    with ExitStack() as stack:
        yield lambda url, **settings: stack.enter_context(serving(place, url, handlers="shop_handlers", **settings))


@pytest.fixture
def relay(place: Path) -> Iterator[Callable[[Service], Process]]:
    """Start relays beside a service: `relay(service)`. They end with the test."""
    started: list[Process] = []

    def run(running: Service) -> Process:
        with (place / "relay.log").open("ab") as log, Path(os.devnull).open("rb") as nothing:
            started.append(start_command("relay", cwd=place, env=running.env, files=(nothing, log, log)))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def told(place: Path, name: str = "") -> Told:
    """Return the changes that handlers got: name, tracker, sequence, id, milestone."""
    file = place / "told"
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [said for line in lines if (said := orjson.loads(line)) and name in {"", said[0]}]


def moved(tracker_id: str, hour: int, milestone: str = "in_transit") -> bytes:
    event = ship24.event(occurrence=f"2025-03-01T{hour:02}:00:00", statusMilestone=milestone)
    return ship24.body(ship24.item(tracker_id=tracker_id, events=[event]))


def moves(said: Told, tracker_id: str) -> list[int]:
    return [line[2] for line in said if line[1] == tracker_id]


def waiting(running: Service) -> int:
    return int(running.count("dispatches"))


def test_handlers_get_the_changes_that_they_choose_and_no_others(start: Start, sqlite_url: str, place: Path) -> None:
    running = start(sqlite_url)
    for hour, milestone in ((10, "in_transit"), (11, "in_transit"), (9, "pending"), (12, "delivered")):
        running.post(moved("t", hour, milestone))
    wait_until(lambda: len(told(place)) == 6 and waiting(running) == 0, "all handlers were told")
    assert [line[2] for line in told(place, "every")] == [1, 2, 3]
    assert [line[4] for line in told(place, "delivered")] == ["delivered"]
    assert [line[4] for line in told(place, "turned")] == ["in_transit", "delivered"]


def test_a_handler_that_raises_gets_the_change_again_and_holds_up_only_its_tracker(
    start: Start, sqlite_url: str, place: Path
) -> None:
    running = start(sqlite_url)
    (place / "broken").touch()
    for hour in (10, 11):
        running.post(moved("bad", hour))
        running.post(moved("good", hour))
    wait_until(lambda: moves(told(place, "every"), "good") == [1, 2], "the good tracker goes on")
    wait_until(lambda: running.table("dispatches", error=Not(None)), "the failure is on record")
    (row,) = running.table("dispatches", error=Not(None))
    assert (row["move"], row["attempts"] > 0, "LookupError: no such order" in row["error"]) == (1, True, True)
    assert set(moves(told(place, "every"), "bad")) == {1}
    (place / "broken").unlink()
    wait_until(lambda: 2 in moves(told(place, "every"), "bad"), "what came after is told too")
    *again, last = moves(told(place, "every"), "bad")
    assert (set(again), len(again) > 1, last) == ({1}, True, 2)


def test_after_a_kill_every_change_is_delivered_and_only_those_in_flight_are_repeated(
    start: Start, sqlite_url: str, place: Path
) -> None:
    running = start(sqlite_url)
    for number in range(40):
        running.post(moved(f"t{number % 8}", number // 8))
        if number % 13 == 12:
            running.kill()
            update_rows(sqlite_url, "dispatches", {"claim": Not(None)}, due_at=0)  # the lease of the dead one has run out
            running.restart()
    expected = {f"t{tracker}": [1, 2, 3, 4, 5] for tracker in range(8)}

    def in_order() -> dict[str, list[int]]:
        return {tracker: list(dict.fromkeys(moves(told(place, "every"), tracker))) for tracker in expected}

    wait_until(lambda: in_order() == expected, "each tracker's changes were told, in order")
    ids = {line[3] for line in told(place, "every")}
    assert len(ids) == 40


def test_relays_of_one_server_share_the_work(
    start: Start, relay: Callable[[Service], Process], postgresql_url: str, place: Path
) -> None:
    running = start(postgresql_url)
    first, second = relay(running), relay(running)
    wait_until(lambda: (place / "relay.log").read_bytes().count(b'"relay_started"') == 2, "both relay")
    together([lambda tracker=tracker: [running.post(moved(f"t{tracker}", hour)) for hour in range(5)] for tracker in range(8)])  # type: ignore[misc]
    wait_until(lambda: len(told(place, "every")) >= 40 and waiting(running) == 0, "all were told")
    said = told(place, "every")
    assert len(said) == len({line[3] for line in said}) == 40
    assert all(moves(said, f"t{tracker}") == [1, 2, 3, 4, 5] for tracker in range(8))
    first.send_signal(signal.SIGTERM)
    assert first.wait(DEADLINE_SECONDS) == 0
    second.kill()
    running.post(moved("late", 10))
    third = relay(running)
    wait_until(lambda: (place / "relay.log").read_bytes().count(b'"relay_started"') == 3, "the third one relays")
    wait_until(lambda: moves(told(place, "every"), "late") == [1], "another relay goes on")
    os.kill(third.pid, signal.SIGINT)
    assert third.wait(DEADLINE_SECONDS) == 0


def test_a_relay_beside_a_service_that_relays_itself_is_refused(start: Start, sqlite_url: str, place: Path) -> None:
    running = start(sqlite_url)
    done = run_command("relay", cwd=place, env=running.env)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "PostgreSQL" in done.stderr


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ("nowhere", "module nowhere not found"),
        ("json", "has no function marked"),
        ("broken_handlers", "ZeroDivisionError"),
        ("misspelt", "the source ship42 is not one of shiipp, ship24"),
    ],
)
def test_handlers_that_cannot_be_had_are_named_before_anything_is_served(
    place: Path, sqlite_url: str, modules: str, words: str
) -> None:
    (place / "broken_handlers.py").write_text("1 / 0", encoding="utf-8")
    (place / "misspelt.py").write_text(HANDLERS.replace('["ship24"]', '["ship42"]'), encoding="utf-8")
    with serving(place, sqlite_url) as running:
        running.stop()
        done = run_command("serve", cwd=place, env={**running.env, "RECEIVER_HANDLERS": modules})
    assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


def test_handlers_are_found_by_an_entry_point_too(place: Path, sqlite_url: str) -> None:
    package = place / "shop_package-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-package\nVersion: 1\n", encoding="utf-8")
    (package / "entry_points.txt").write_text("[receiver.handlers]\nshop = shop_handlers\n", encoding="utf-8")
    with serving(place, sqlite_url) as running:
        running.post(moved("t", 10))
        wait_until(lambda: moves(told(place, "every"), "t") == [1], "the handler of the entry point was told")


def test_what_a_module_of_handlers_does_at_import_does_not_change_a_command(place: Path, sqlite_url: str) -> None:
    with (place / "shop_handlers.py").open("a") as file:
        file.write("print('planted word')\nimport os\nos.chdir('/')\n")
    with serving(place, sqlite_url, handlers="shop_handlers") as running:
        relative = f"sqlite:///{os.path.relpath(sqlite_url.removeprefix('sqlite:///'), place)}"
        for command in (["targets", "list"], ["doctor"]):
            done = run_process(*command, "--json", cwd=place, env={**running.env, "RECEIVER_DATABASE_URL": relative})
            assert ("planted word" in done.stdout, "planted word" in done.stderr) == (False, True)
            assert (done.returncode, bool(orjson.loads(done.stdout))) == (0, True), done.stderr
