"""An upgrade from version 0.1.0 behind nginx under load, as senders and targets see it."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import lacking
from tests.harness.command import run_command
from tests.harness.database_contents import check_whole
from tests.harness.earlier_version import EARLIER_TABLES, NotCloned, unpack_earlier, upgrade
from tests.harness.http_client import Way
from tests.harness.network import wired
from tests.harness.nginx import Nginx, find_nginx
from tests.harness.rows import count_rows, read_rows, table_rows
from tests.harness.service import Process, Service, environment, start_command, wait_until
from tests.harness.storage import change
from tests.harness.traffic import Senders

HANDLERS = """
import json, pathlib
from receiver.handlers import on_change

@on_change()
def tell(change):
    number = change.move if hasattr(change, "move") else change.sequence  # version 0.1 calls it move
    line = json.dumps([pathlib.Path.cwd().name, change.tracker_id, number, change.id]) + "\\n"
    with open("../told", "ab", buffering=0) as file:
        file.write(line.encode())
"""

CLAIMED = (
    "SELECT e.change_id AS id FROM dispatches d JOIN events e ON (e.source, e.tracker_id, e.event_id) = "
    "(d.source, d.tracker_id, d.event_id) WHERE d.claim IS NOT NULL"
)


class Upgrading:
    """Receivers and relays in subfolders, where handlers write their changes; all end with the block."""

    def __init__(self, folder: Path, url: str, ending: ExitStack) -> None:
        self.folder = folder
        self.url = url
        self._ending = ending

    def start_receiver(self, name: str, prefix: Sequence[str] = (), port: int | None = None) -> Service:
        """Start a receiver, on the port of one that was stopped if there is one."""
        receiver = Service(self._make(name), self.url, prefix, handlers="handlers", commit_timeout_seconds="60")
        if port is not None:
            receiver.port, receiver.env["RECEIVER_PORT"] = port, str(port)
        self._ending.callback(receiver.close)
        return receiver.start()

    def start_relay(self, name: str, prefix: Sequence[str] = ()) -> Process:
        folder = self._make(name)
        env = environment(self.url, handlers="handlers")
        with (folder / "log").open("ab") as log, Path(os.devnull).open("rb") as nothing:
            relay = start_command("relay", cwd=folder, env=env, files=(nothing, log, log), prefix=prefix)
        self._ending.callback(relay.wait)
        self._ending.callback(relay.kill)
        return relay

    def told(self) -> list[list[Any]]:
        """Return the changes that handlers got: relay, tracker, sequence, id."""
        file = self.folder / "told"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def wait_for(self, version: str, changes: int) -> None:
        """Wait until the relays of a version have handed on so many more changes. How they share them is theirs to decide."""
        enough = self._count(version) + changes
        wait_until(lambda: self._count(version) >= enough, f"{version} relays hand on {changes} changes")

    def _count(self, version: str) -> int:
        return sum(told[0].startswith(version) for told in self.told())

    def _make(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "handlers.py").write_text(HANDLERS, encoding="utf-8")
        return folder


@pytest.fixture
def earlier(tmp_path: Path) -> Sequence[str]:
    if find_nginx() is None:
        lacking("nginx is not installed (Debian package: nginx)")
    try:
        return unpack_earlier(tmp_path / "earlier")
    except NotCloned as error:
        lacking(str(error))


@pytest.fixture
def upgrading(tmp_path: Path, postgresql_url: str) -> Iterator[Upgrading]:
    upgrade(postgresql_url, EARLIER_TABLES)
    with ExitStack() as ending:
        yield Upgrading(tmp_path, postgresql_url, ending)


def check_what_was_told(upgrading: Upgrading, lost: Counter[str]) -> None:
    """Check that each change was handed on, under its id and in the order of its tracker; again only what a dead relay had."""
    made = table_rows(upgrading.url, "events", "tracker_id", "move", "change_id", outcome="applied")
    told = upgrading.told()
    assert {tuple(one[1:]) for one in told} == {tuple(row.values()) for row in made}
    again = Counter(one[3] for one in told)
    assert {change_id for change_id, times in again.items() if times > 1} <= set(lost)
    last: Counter[str] = Counter()
    for tracker, move, _ in dict.fromkeys(tuple(one[1:]) for one in told):
        last[tracker] += 1
        assert move == last[tracker]


def test_senders_see_nothing_but_200_and_relays_of_both_versions_lose_and_double_nothing(
    upgrading: Upgrading, tmp_path: Path, earlier: Sequence[str]
) -> None:
    receivers = [upgrading.start_receiver(name, earlier) for name in ("old-1", "old-2")]
    old_relay = upgrading.start_relay("old-relay", earlier)
    with wired(real=False) as wire, ExitStack() as ending:
        front = wire.plug_in("front", "10.0.0.1")
        nginx = Nginx(tmp_path / "nginx", front, [f"127.0.0.1:{one.port}" for one in receivers])
        ending.callback(nginx.close)
        nginx.start()
        request_guard = Way("127.0.0.1", front.address, nginx.port, nginx.certificate)
        with Senders(request_guard, senders=3, pause_seconds=0.1) as traffic:
            traffic.wait_for_answers(100)
            upgrading.wait_for("old", 1)  # it starts slowly, and 0.1.0 refuses to start on tables of another version
            done = run_command("migrate", cwd=tmp_path, env=environment(upgrading.url))
            assert done.returncode == 0, done.stderr
            traffic.wait_for_answers(100)
            upgrading.wait_for("old", 5)
            upgrading.start_relay("new-relay")
            log = tmp_path / "new-relay" / "log"
            wait_until(lambda: b'"relay_started"' in log.read_bytes(), "relays of both versions are there")
            traffic.wait_for_answers(100)
            old_relay.kill()
            old_relay.wait()
            lost = Counter(row["id"] for row in read_rows(upgrading.url, CLAIMED))
            change(upgrading.url, "UPDATE dispatches SET due_at = 0 WHERE claim IS NOT NULL")  # its leases end after 90 s
            for name, old in zip(("new-1", "new-2"), receivers, strict=True):
                assert old.stop() == 0
                traffic.wait_for_answers(50)
                upgrading.start_receiver(name, port=old.port)
                calls, place = len(nginx.routes()), [f"127.0.0.1:{old.port}"]
                wait_until(lambda c=calls, p=place: p in nginx.routes()[c:], "nginx calls it again")  # type: ignore[misc]
            upgrading.wait_for("new", 5)
            traffic.stop()
            assert set(traffic.statuses) == {200}, traffic.statuses
            assert traffic.settle() == set()
    wait_until(lambda: not count_rows(upgrading.url, "dispatches"), "everything is handed on")
    check_what_was_told(upgrading, lost)
    check_whole(upgrading.url)
