"""Nothing stays lost: a copy from yesterday and what the vendor still knows make up for a lost database."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.conftest import StartService
from tests.harness.command import run_command
from tests.harness.rows import table_rows
from tests.harness.service import Service
from tests.harness.ship24 import Item, body, event, item
from tests.harness.ship24_api import KEY, FakeShip24, fake_ship24
from tests.harness.storage import make_tables
from tests.harness.store import opened

OPS = "the-ops-token-of-these-tests"
TRACKERS = 4


@pytest.fixture
def vendor() -> Iterator[FakeShip24]:
    with fake_ship24() as running:
        yield running


def travel(name: str) -> list[Item]:
    return [item(f"{name}-{n}", name, [event(f"{name}-event-{n}", f"2025-05-0{n}T10:00:00")]) for n in range(1, 5)]


def run(running: Service, *arguments: str) -> Any:
    done = run_command(*arguments, cwd=running.directory, env=running.env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else None


def end_of(url: str) -> tuple[Any, Any]:
    """Return the state of each tracker, and its timeline."""
    states = table_rows(url, "trackers", "tracker_id", "latest_event_id", "latest_occurrence", "status", order="tracker_id")
    timelines = table_rows(url, "events", "tracker_id", "event_id", "message_id", "occurrence", order="tracker_id, event_id")
    return [tuple(row.values()) for row in states], [tuple(row.values()) for row in timelines]


def test_a_lost_database_is_made_whole_by_a_copy_and_the_vendor(
    service: StartService, vendor: FakeShip24, tmp_path: Path
) -> None:
    messages = [message for number in range(TRACKERS) for message in travel(f"t{number}")]
    Random(1).shuffle(messages)
    for message in messages:
        tracker_id = message["tracker"]["trackerId"]
        (vendor.trackers.get(tracker_id) or vendor.add(tracker_id)).send(message, "success")
    undisturbed = f"sqlite:///{tmp_path}/undisturbed.db"
    make_tables(undisturbed)
    with opened(undisturbed) as store:
        for message in messages:
            store.keep(body(message))
    (tmp_path / "data").mkdir()
    url = f"sqlite:///{tmp_path}/data/receiver.db"
    running = service(url, ops_tokens=OPS, ship24_api_key=KEY, ship24_api_url=vendor.url)
    half = len(messages) // 2
    for message in messages[:half]:
        assert running.post(body(message)).status == 200
    run(running, "backup", str(tmp_path / "copy.db"))
    for message in messages[half:]:
        assert running.post(body(message)).status == 200
    running.kill()
    for file in (tmp_path / "data").glob("receiver.db*"):
        file.unlink()
    run(running, "restore", str(tmp_path / "copy.db"))
    running.restart()
    assert end_of(url) != end_of(undisturbed)
    report = run(running, "reconcile", "ship24", "--all", "--json")
    assert report["messages"] == len(messages) - half
    assert end_of(url) == end_of(undisturbed)
    assert run(running, "reconcile", "ship24", "--all", "--json")["complete"] == TRACKERS
    for message in messages:
        assert running.post(body(message)).outcomes() == ["duplicate"]
