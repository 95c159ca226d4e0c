"""The table of running processes: their targets, and what operators see if these differ."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from receiver.domain.alarms import AlarmThresholds
from receiver.domain.processes import RECEIVER, RELAY, RUNNING_MICROS, Processes, ProcessRow, find_mismatches
from receiver.domain.traffic import HOUR, MINUTE, SECOND
from receiver.errors import StorageUnavailable
from receiver.monitoring.alarm_monitor import AlarmMonitor
from receiver.relay.heartbeat import Heartbeat
from receiver.relay.supervisor import RelayState
from receiver.storage.database import Database
from receiver.storage.processes import KEPT_MICROS, note_processes, read_processes, remove_process
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import ProcessTable
from receiver.storage.transactions import Transactions
from receiver.writer.executor import CommandExecutor, R, WriterCommand
from tests.harness import ship24
from tests.harness.changes import SECRET, write_targets
from tests.harness.command import run_command
from tests.harness.ports import free_port
from tests.harness.rows import table_rows
from tests.harness.service import Service, serving, wait_until
from tests.harness.storage import add_row, make_tables, update_rows
from tests.harness.table import each_row

NOW = 1_790_000_000_000_000
DAY = 24 * HOUR
OPS = "the-ops-token-of-these-tests"


def process(role: str, *targets: str, name: str = "a", started_at: int = NOW - HOUR, seen_at: int = NOW) -> ProcessRow:
    return ProcessRow(name, role, f"host-{name}", 7, "1.2.3", started_at, seen_at, targets)


def running(*rows: ProcessRow) -> Processes:
    return Processes([row for row in rows if row.role == RECEIVER], [row for row in rows if row.role == RELAY])


def mismatches(*rows: ProcessRow, known: Sequence[str] = ()) -> dict[str, str]:
    return find_mismatches(running(*rows), known, NOW - 5 * MINUTE)


# Which differ


def test_processes_that_know_the_same_targets_are_right() -> None:
    assert mismatches(process(RECEIVER, "shop", "mail"), process(RELAY, "mail", "shop")) == {}
    assert mismatches(process(RECEIVER), process(RECEIVER, name="b")) == {}


def test_a_target_that_only_receivers_know_is_found() -> None:
    found = mismatches(process(RECEIVER, "shop", "mail"), process(RELAY, "mail", name="b"))
    assert found == {
        "shop": "the receiver at host-a (process 7) knows shop and no running relay does, so its changes are not delivered"
    }


@each_row("role", [RELAY, RECEIVER])
def test_a_target_that_a_receiver_does_not_know_is_found(role: str) -> None:
    (finding,) = mismatches(process(RECEIVER, "mail"), process(role, "mail", "shop", name="b")).values()
    assert finding.startswith(f"the {role} at host-b (process 7) knows shop and the receiver at host-a (process 7) does not")


def test_relays_may_share_targets_out() -> None:
    rows = process(RECEIVER, "shop", "mail"), process(RELAY, "shop", name="b"), process(RELAY, "mail", name="c")
    assert mismatches(*rows) == {}


def test_where_no_relay_or_no_receiver_runs_there_is_nothing_to_compare() -> None:
    assert mismatches(process(RECEIVER, "shop")) == mismatches(process(RELAY, "shop")) == {}


@each_row("young", [0, 1])
def test_processes_that_have_just_started_are_not_judged_unless_the_mismatch_is_known(young: int) -> None:
    rows = [process(RECEIVER, "shop"), process(RELAY, "mail", name="b")]
    rows[young] = rows[young]._replace(started_at=NOW - MINUTE)
    assert mismatches(*rows) == {}
    assert mismatches(*rows, known=["shop"]).keys() == {"shop"}


# In the database


class ProcessStore:
    """A database, and one process that writes to it."""

    def __init__(self, url: str) -> None:
        make_tables(url)
        self.url = url
        self.database = Database(url)
        self._transactions = Transactions(self.database)
        self._executor = CommandExecutor(self.database, self._transactions)
        self.failure: Exception | None = None

    async def do(self, command: WriterCommand[R]) -> R:
        if self.failure is not None:
            raise self.failure
        return self._executor.do(command)

    def note(self, *rows: ProcessRow) -> None:
        self._transactions.run(lambda connection: note_processes(self.database, connection, rows))

    def remove(self, process_id: str) -> None:
        self._transactions.run(lambda connection: remove_process(connection, process_id, 0))

    def ids(self) -> list[str]:
        return [str(row["id"]) for row in table_rows(self.url, "processes", "id", order="id")]

    def watch(self, rules: AlarmThresholds, started_at: int = 0) -> AlarmMonitor:
        return AlarmMonitor(rules, self.database, self.do, lambda _notice: None, started_at)

    def close(self) -> None:
        self._transactions.close()
        self.database.close()


@pytest.fixture
def store(database_url: str) -> Iterator[ProcessStore]:
    store = ProcessStore(database_url)
    yield store
    store.close()


def test_a_row_has_the_columns_of_its_table() -> None:
    assert ProcessRow._fields == tuple(table_of(ProcessTable).columns.keys())


def test_the_rows_of_a_process_are_refreshed_and_removed_when_it_ends(store: ProcessStore) -> None:
    rows = process(RECEIVER, "shop"), process(RELAY, "shop", "some.module.handler")
    store.note(*rows)
    assert read_processes(store.database, NOW) == ([rows[0]], [rows[1]])
    later = NOW + RUNNING_MICROS + 1
    assert read_processes(store.database, later) == ([], [])
    store.note(*(row._replace(seen_at=later, targets=("mail",)) for row in rows))
    assert [row.targets for role in read_processes(store.database, later) for row in role] == [("mail",), ("mail",)]
    store.remove("a")
    assert store.ids() == []


@pytest.mark.parametrize("away", [-KEPT_MICROS, KEPT_MICROS])
def test_rows_of_processes_that_are_gone_are_removed(store: ProcessStore, away: int) -> None:
    store.note(process(RECEIVER, name="gone", seen_at=NOW + away + (SECOND if away > 0 else -SECOND)))
    store.note(process(RECEIVER, name="beside", seen_at=NOW - KEPT_MICROS // 2))
    store.note(process(RECEIVER, name="self"))
    assert store.ids() == (["self"] if store.database.has_one_writer else ["beside", "self"])


# The sign of life


def test_a_process_puts_down_its_roles_every_30_seconds_and_what_is_new_at_once(store: ProcessStore) -> None:
    state = RelayState()
    heartbeat = Heartbeat(store.do, ["shop"], lambda: state)

    def seen(at: int) -> dict[str, tuple[int, tuple[str, ...]]]:
        asyncio.run(heartbeat.beat(at))
        found = read_processes(store.database, at)
        return {row.role: (row.seen_at, row.targets) for role in found for row in role}

    assert seen(NOW) == {RECEIVER: (NOW, ("shop",))}
    assert seen(NOW + SECOND) == {RECEIVER: (NOW, ("shop",))}
    state = RelayState(is_running=True, targets=("shop", "mail"))
    assert seen(NOW + 2 * SECOND) == {RECEIVER: (NOW + 2 * SECOND, ("shop",)), RELAY: (NOW + 2 * SECOND, ("mail", "shop"))}
    state = RelayState(targets=("shop",))
    assert seen(NOW + 32 * SECOND)[RECEIVER][0] == NOW + 32 * SECOND
    assert seen(NOW + 32 * SECOND)[RELAY][0] == NOW + 2 * SECOND, "a relay that does not run is not seen"


def test_a_process_without_a_relay_and_without_deliveries_is_not_listed(store: ProcessStore) -> None:
    asyncio.run(Heartbeat(store.do, None, RelayState).beat(NOW))
    assert store.ids() == []


@pytest.mark.parametrize("error", [StorageUnavailable("away"), RuntimeError("a bug")])
def test_a_sign_of_life_that_fails_is_logged_once_and_the_next_one_comes(
    store: ProcessStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("receiver.relay.heartbeat._CHECK_SECONDS", 0)

    async def run() -> None:
        store.failure = error
        beating = asyncio.create_task(Heartbeat(store.do, [], RelayState).run())
        for _ in range(5):
            await asyncio.sleep(0)
        store.failure = None
        while not store.ids():
            assert not beating.done()
            await asyncio.sleep(0)
        beating.cancel()
        await asyncio.wait([beating])

    with capture_logs() as logs:
        asyncio.run(run())
    assert [line["event"] for line in logs] == ["heartbeat_failed"]
    assert store.ids() == [], "its rows are removed at the end"


# What is watched


def rules(target_minutes: float = 60) -> AlarmThresholds:
    return AlarmThresholds({}, 0, 0, 0, 0, 0, target_minutes=target_minutes)


def wait_for_target(store: ProcessStore, since: int, target: str = "shop") -> None:
    key = {"target": target, "source": "ship24", "tracker_id": "t", "move": 1}
    add_row(store.url, "dispatches", **key, event_id="e", due_at=since, attempts=0, made_at=since)


def begun(store: ProcessStore, watch: AlarmMonitor, now: int = NOW) -> list[tuple[str, str]]:
    asyncio.run(watch.step(now))
    return [(alarm["name"], alarm["subject"]) for alarm in watch.on()]


def test_changes_that_wait_while_no_relay_runs_are_an_alarm_until_one_runs(store: ProcessStore) -> None:
    store.note(process(RECEIVER, "shop"))
    wait_for_target(store, NOW - 5 * MINUTE)
    watch = store.watch(rules())
    assert begun(store, watch) == [("relay", "")]
    (alarm,) = watch.on()
    assert alarm["message"].startswith("Changes have been waiting since 2026-")
    assert "no relay is running" in alarm["message"]
    store.note(process(RECEIVER, "shop"), process(RELAY, "shop"))
    assert begun(store, watch) == []


def test_the_relay_of_the_service_itself_counts(store: ProcessStore) -> None:
    store.note(process(RECEIVER, "shop"), process(RELAY, "shop"))
    wait_for_target(store, NOW - 50 * MINUTE)
    assert begun(store, store.watch(rules())) == []


def test_a_relay_on_another_machine_counts(postgresql_url: str) -> None:
    store = ProcessStore(postgresql_url)
    store.note(process(RELAY, "shop", name="b"))
    store.note(process(RECEIVER, "shop"))
    wait_for_target(store, NOW - 50 * MINUTE)
    assert begun(store, store.watch(rules())) == []
    store.close()


def test_a_relay_that_is_seen_no_more_does_not_count(store: ProcessStore) -> None:
    store.note(process(RECEIVER, "shop"), process(RELAY, "shop"))
    later = NOW + RUNNING_MICROS + SECOND
    update_rows(store.url, "processes", {"role": "receiver"}, seen_at=later)
    wait_for_target(store, NOW - 5 * MINUTE)
    assert begun(store, store.watch(rules()), later) == [("relay", "")]


def test_without_waiting_changes_a_missing_relay_is_no_alarm(store: ProcessStore) -> None:
    store.note(process(RECEIVER, "shop"))
    assert begun(store, store.watch(rules())) == []


def test_without_targets_a_missing_relay_is_no_alarm(store: ProcessStore) -> None:
    store.note(process(RECEIVER))
    wait_for_target(store, NOW - 30 * MINUTE, "no-longer-named")
    assert begun(store, store.watch(rules())) == []


def test_during_a_restart_a_missing_relay_is_no_alarm_though_changes_have_failed_for_long(store: ProcessStore) -> None:
    wait_for_target(store, NOW - 50 * MINUTE)
    assert begun(store, store.watch(rules(), started_at=NOW)) == [], "nobody has been seen yet"
    store.note(process(RECEIVER, "shop"))
    assert begun(store, store.watch(rules(), started_at=NOW - MINUTE)) == [], "the relay is still starting"
    assert begun(store, store.watch(rules(), started_at=NOW - 5 * MINUTE)) == [("relay", "")]


def test_a_restart_does_not_end_the_alarm_before_anybody_has_been_seen(store: ProcessStore) -> None:
    store.note(process(RECEIVER, "shop"))
    wait_for_target(store, NOW - 5 * MINUTE)
    assert begun(store, store.watch(rules())) == [("relay", "")]
    store.remove("a")
    assert begun(store, store.watch(rules(), started_at=NOW)) == [("relay", "")]


def test_settings_that_differ_are_an_alarm_by_target_until_they_are_the_same(store: ProcessStore) -> None:
    watch = store.watch(rules())
    store.note(process(RECEIVER, "shop"), process(RELAY, "mail"))
    assert begun(store, watch) == [("settings", "mail"), ("settings", "shop")]
    assert "no running relay does" in watch.on()[1]["message"]
    store.note(process(RECEIVER, "shop"), process(RELAY, "shop"))
    assert begun(store, watch) == []


def test_an_operator_can_switch_these_alarms_off(store: ProcessStore) -> None:
    store.note(process(RECEIVER, "shop"))
    wait_for_target(store, NOW - DAY)
    assert begun(store, store.watch(rules(target_minutes=0))) == []
    store.note(process(RECEIVER, "shop"), process(RELAY, "mail"))
    assert begun(store, store.watch(rules(target_minutes=0))) == []


# As operators see it


def run(directory: Path, env: dict[str, str], *arguments: str, code: int = 0) -> str:
    done = run_command(*arguments, cwd=directory, env={**env, "COLUMNS": "200"})
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stdout + done.stderr
    return done.stdout + done.stderr


def find(directory: Path, env: dict[str, str], code: int = 0) -> dict[str, dict[str, str]]:
    return {finding["subject"]: finding for finding in json.loads(run(directory, env, "doctor", "--json", code=code))}


def listed(directory: Path, env: dict[str, str]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in json.loads(run(directory, env, "targets", "list", "--json"))["items"]}


def roles(service: Service) -> dict[str, float]:
    lines = service.get("/metrics").body.decode().splitlines()
    return {line.split('"')[1]: float(line.split()[1]) for line in lines if line.startswith("receiver_processes{")}


@contextmanager
def relay(directory: Path, service: Service) -> Iterator[None]:
    """A `receiver relay` with other settings: those of its own folder."""
    with (directory / "relay.log").open("ab") as log:
        command = [sys.executable, "-m", "receiver", "relay"]
        process = subprocess.Popen(command, cwd=directory, env=service.env, stdout=log, stderr=log)
    try:
        yield
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def test_a_service_is_seen_with_its_relay_until_it_stops(database_url: str, tmp_path: Path) -> None:
    write_targets(tmp_path, shop="http://127.0.0.1:1/")
    with serving(tmp_path, database_url, ops_tokens=OPS, target_secrets=f"shop:{SECRET}") as service:
        wait_until(lambda: roles(service) == {RECEIVER: 1, RELAY: 1}, "both roles are seen")
        service.post(ship24.body(ship24.item(tracker_id="t", events=[ship24.event()])))
        found = find(tmp_path, service.env)
        assert found["relay"]["verdict"] == "ok"
        assert found["relay"]["finding"].startswith("1 running: the relay at ")
        assert listed(tmp_path, service.env)["shop"]["mismatch"] is None
        assert service.stop() == 0
        assert service.table("processes") == []
        found = find(tmp_path, {**service.env, "RECEIVER_PORT": str(free_port())}, code=1)
        assert found["relay"]["verdict"] == "warn"
        assert "no relay is running" in found["relay"]["finding"]


def test_a_target_that_only_the_settings_here_or_only_the_running_service_names_is_shown(
    database_url: str, tmp_path: Path
) -> None:
    write_targets(tmp_path, shop="http://127.0.0.1:1/")
    with serving(tmp_path, database_url, ops_tokens=OPS, target_secrets=f"shop:{SECRET}") as service:
        wait_until(lambda: roles(service) == {RECEIVER: 1, RELAY: 1}, "both roles are seen")
        write_targets(tmp_path, mail="http://127.0.0.1:1/")
        env = {**service.env, "RECEIVER_TARGET_SECRETS": f"mail:{SECRET}"}
        found = listed(tmp_path, env)
        assert found["mail"]["mismatch"].startswith("the settings here name mail and no running process knows it; restart")
        assert found["shop"]["kind"] is None
        assert found["shop"]["mismatch"].endswith("knows shop and the settings here do not name it")
        assert "settings differ" in run(tmp_path, env, "targets", "list")
        assert {find(tmp_path, env)[f"target {name}"]["verdict"] for name in ("mail", "shop")} == {"warn"}
        assert "shop is in use: the receiver at" in run(tmp_path, env, "targets", "drop", "shop", "--yes", code=1)


def test_a_relay_elsewhere_with_other_settings_is_found_in_both_directions(postgresql_url: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    write_targets(here, shop="http://127.0.0.1:1/")
    write_targets(there, mail="http://127.0.0.1:1/")
    with serving(here, postgresql_url, ops_tokens=OPS, target_secrets=f"shop:{SECRET}") as service:
        wait_until(lambda: roles(service) == {RECEIVER: 1, RELAY: 1}, "the service is seen")
        other = Service(there, postgresql_url, target_secrets=f"mail:{SECRET}")
        with relay(there, other):
            wait_until(lambda: service.count("processes", role="relay") == 2, "the relay elsewhere is seen")
            (mail,) = (item for item in service.get("/ops/api/targets", OPS).json()["items"] if item["name"] == "mail")
            assert "knows mail and the receiver at" in mail["mismatch"]
            assert "knows mail and the receiver at" in find(here, service.env)["target mail"]["finding"]
            update_rows(postgresql_url, "processes", {"role": "relay"}, targets='["mail"]')
            shop = listed(here, service.env)["shop"]
            assert "knows shop and no running relay does" in shop["mismatch"]
        assert service.count("processes", role="relay") == 1, "the relay elsewhere has ended, and its row is removed"


def test_handlers_that_the_relay_finds_when_it_starts_again_are_compared_with_those_of_the_service(
    sqlite_url: str, tmp_path: Path
) -> None:
    def define(name: str) -> None:
        module = f"from receiver.handlers import on_change\n\n@on_change()\ndef {name}(change): ...\n"
        (tmp_path / "own_handlers.py").write_text(module, encoding="utf-8")

    def relayed() -> list[str]:
        return [str(row["targets"]) for row in service.table("processes", "targets", role="relay")]

    define("first")
    with serving(tmp_path, sqlite_url, ops_tokens=OPS, handlers="own_handlers") as service:
        wait_until(lambda: relayed() == ['["own_handlers.first"]'], "the relay is seen")
        define("second_one")
        (line,) = (line for line in service.logs().splitlines() if '"relay_started"' in line)
        os.kill(json.loads(line)["process_id"], signal.SIGKILL)
        wait_until(lambda: relayed() == ['["own_handlers.second_one"]'], "the relay is seen with what it knows now")
        found = {item["name"]: item["mismatch"] for item in service.get("/ops/api/targets", OPS).json()["items"]}
        assert "knows own_handlers.first and no running relay does" in found["own_handlers.first"]
        assert "the relay at" in found["own_handlers.second_one"]
