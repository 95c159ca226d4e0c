"""`receiver prune`: on the database itself, and through the service that holds the file."""

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import ConfigurationError, StorageUnavailable
from receiver.storage.database import Database
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.load import until_taken
from tests.harness.rows import count_rows, table_rows
from tests.harness.service import Reply, Service, bearer, environment, name_of, wait_until
from tests.harness.storage import make_tables, update_rows
from tests.harness.store import opened

OPS = "the-ops-token-of-these-tests"
FOR_EVER = "100000"
"""Days by which the service itself prunes nothing of what these tests keep: what goes, goes by order."""


def fill(url: str, bodies: int = 30) -> list[bytes]:
    """Store old deliveries; return their bodies."""
    make_tables(url)
    kept = [ship24.single() for _ in range(bodies)]
    with opened(url) as store:
        store.keep(*kept, ship24.body("odd"))
    return kept


class PruningOperator:
    """Somebody with the settings of the service, in its folder."""

    def __init__(self, cwd: Path, env: dict[str, str]) -> None:
        self._cwd = cwd
        self._env = env

    def run(self, *arguments: str, code: int = 0) -> str:
        for _ in range(20):
            done = run_command(*arguments, cwd=self._cwd, env=self._env)
            if code or "already under way" not in done.stderr:  # by the service itself, for a moment after its start
                break
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def ask(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))


@pytest.fixture
def alone(tmp_path: Path, sqlite_url: str) -> PruningOperator:
    """An operator with a filled database and no service."""
    fill(sqlite_url)
    return PruningOperator(tmp_path, environment(sqlite_url))


def beside(running: Service) -> PruningOperator:
    return PruningOperator(running.directory, running.env)


def serve(service: StartService, url: str) -> Service:
    """Start a service that prunes by order only."""
    return service(url, ops_tokens=OPS, body_retention_days=FOR_EVER)


def order(running: Service, **wanted: object) -> Reply:
    """Order through the API; a run that cannot begin, since the service has a round of its own, is ordered again."""

    def post() -> Reply:
        return running.call("POST", "/ops/api/prune", json.dumps(wanted).encode(), bearer(OPS))

    return post() if "run" in wanted else until_taken(post, refused=409)


def test_a_dry_run_counts_and_removes_nothing(alone: PruningOperator, sqlite_url: str) -> None:
    told = alone.ask("prune", "--dry-run")
    assert {kind: gone["rows"] for kind, gone in told["removed"].items()} == {
        "bodies": 31,
        "quarantine": 1,
        "refused": 0,
        "dead_changes": 0,
        "delivered_changes": 0,
    }
    assert told["before"]["rows"]["bodies"] == 31
    assert told["after"] is None
    table = alone.run("prune", "--dry-run")
    assert "to delete" in table
    assert "after" not in table
    assert count_rows(sqlite_url, "bodies") == 31
    assert alone.ask("audit", "list")["items"] == []


def test_pruning_by_hand_tells_before_and_after_and_is_on_record(alone: PruningOperator, sqlite_url: str) -> None:
    told = alone.ask("prune")
    assert told["removed"]["bodies"]["rows"] == 31
    assert (told["before"]["rows"]["bodies"], told["after"]["rows"]["bodies"]) == (31, 0)
    assert told["before"]["database_bytes"] > 0
    (entry,) = alone.ask("audit", "list")["items"]
    assert (entry["actor"], entry["action"]) == ("command line", "prune")
    assert "bodies 90 days" in entry["detail"]
    assert alone.ask("prune")["removed"]["bodies"]["rows"] == 0  # and it may be repeated
    assert (count_rows(sqlite_url, "bodies"), count_rows(sqlite_url, "deliveries")) == (0, 31)


def test_the_days_can_be_given(alone: PruningOperator) -> None:
    assert alone.ask("prune", "--bodies-days", "36500")["removed"]["bodies"]["rows"] == 0
    assert "bodies 36500 days" in alone.ask("audit", "list")["items"][0]["detail"]
    assert "--bodies-days" in alone.run("prune", "--bodies-days", "0", code=2)
    assert alone.ask("prune", "--bodies-days", "1")["removed"]["bodies"]["rows"] == 31


def test_prune_names_what_is_kept_forever(tmp_path: Path, sqlite_url: str) -> None:
    fill(sqlite_url)
    keeping = PruningOperator(tmp_path, environment(sqlite_url, body_retention_days="0"))
    assert "kept forever" in keeping.run("prune", "--dry-run")
    assert set(keeping.ask("prune")["removed"]) == {"refused", "dead_changes", "delivered_changes"}
    assert count_rows(sqlite_url, "bodies") == 31


def test_beside_a_service_it_goes_on_step_by_step(service: StartService, database_url: str) -> None:
    bodies = fill(database_url, 600)
    running = serve(service, database_url)
    told = beside(running).ask("prune", "--bodies-days", "90")
    assert (told["removed"]["bodies"]["rows"], told["after"]["rows"]["bodies"]) == (601, 0)
    assert running.post(bodies[0]).outcomes() == ["duplicate"]
    (entry,) = [each for each in running.get("/ops/api/audit", token=OPS).json()["items"] if each["action"] == "prune"]
    assert entry["actor"] == (name_of(OPS) if running.database_url.startswith("sqlite") else "command line")
    assert "bodies 90 days" in entry["detail"]


def test_a_pruned_delivery_is_shown_without_its_bytes(service: StartService, sqlite_url: str) -> None:
    fill(sqlite_url, 1)
    running = serve(service, sqlite_url)
    operator = beside(running)
    operator.run("prune", "--bodies-days", "90")
    call = running.get("/ops/api/deliveries", token=OPS).json()["items"][0]["id"]
    shown = running.get(f"/ops/api/deliveries/{call}", token=OPS).json()
    assert (shown["body"], shown["body_base64"], shown["answer"], shown["headers"]) == (None, None, None, [])
    assert shown["status"] == 200
    assert any("deleted (retention)" in sentence for sentence in shown["explanation"])
    assert "not stored" in operator.run("deliveries", "show", call)
    assert "not stored" in operator.run("deliveries", "show", call, "--body", code=1)
    message = running.value("messages", "message_id")
    assert message in operator.run("explain", message)
    (odd,) = running.get("/ops/api/quarantine", token=OPS).json()["items"]
    assert (odd["raw"], odd["raw_bytes"], odd["reason"]) == ("", 0, "not_an_object")


def test_an_order_through_the_api_is_taken_up_where_it_ended(service: StartService, sqlite_url: str) -> None:
    fill(sqlite_url)
    running = serve(service, sqlite_url)
    foreign = order(running, run="not the one that prunes")
    assert (foreign.status, foreign.json()["error"]["code"]) == (409, "underway")
    assert order(running, bodies_days=0).status == 422
    assert order(running, days=3).status == 422
    assert count_rows(sqlite_url, "bodies") == 31
    done = order(running, bodies_days=90).json()
    assert (done["removed"]["bodies"]["rows"], done["more"]) == (31, False)
    assert order(running, run=done["run"]).status == 409  # that run is over
    actions = [row["action"] for row in table_rows(sqlite_url, "audit", "action")]
    assert actions == ["prune"]  # what was not done is not on record


def test_other_days_for_a_run_under_way_are_audited(service: StartService, sqlite_url: str) -> None:
    fill(sqlite_url)
    running = serve(service, sqlite_url)

    def details() -> list[str]:
        return [row["detail"].partition(",")[0] for row in table_rows(sqlite_url, "audit", "detail", order="id")]

    def go_on(run: str) -> None:
        """Let a prune be under way that did not end in one request."""
        update_rows(sqlite_url, "prunings", claim=run, leased_until=9_000_000_000_000_000)

    begun = order(running, bodies_days=36_500).json()["run"]
    for same in ({}, {"bodies_days": 36_500}):
        go_on(begun)
        assert order(running, run=begun, **same).json()["removed"]["bodies"]["rows"] == 0
    assert details() == ["bodies 36500 days"]
    assert order(running, run=begun, bodies_days=1).status == 409
    assert details() == ["bodies 36500 days"]
    go_on(begun)
    assert order(running, run=begun, bodies_days=1).json()["removed"]["bodies"]["rows"] == 31
    assert details() == ["bodies 36500 days", "bodies 1 days"]


def test_two_prunes_do_not_run_at_the_same_time(alone: PruningOperator, sqlite_url: str) -> None:
    alone.run("prune")
    update_rows(sqlite_url, "prunings", claim="somebody", leased_until=9_000_000_000_000_000)
    assert "already under way" in alone.run("prune", code=1)


def test_a_service_without_an_ops_token_says_what_is_missing(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    assert "RECEIVER_OPS_TOKENS" in beside(running).run("prune", code=2)


def test_a_file_becomes_smaller_by_vacuum(tmp_path: Path, sqlite_url: str) -> None:
    fill(sqlite_url, 300)
    operator = PruningOperator(tmp_path, environment(sqlite_url))
    told = operator.ask("prune")
    assert told["after"]["free_bytes"] > 100_000
    assert told["after"]["database_bytes"] >= told["before"]["database_bytes"]
    assert "--vacuum" in operator.run("prune")
    smaller = operator.ask("prune", "--vacuum")["after"]
    assert smaller["free_bytes"] == 0
    assert smaller["database_bytes"] < told["after"]["database_bytes"] - 100_000
    with opened(sqlite_url) as store:
        assert b"applied" in store.keep(ship24.single())[0].body


def test_there_is_no_vacuum_beside_a_service_or_on_a_server(
    service: StartService, sqlite_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    fill(sqlite_url)
    running = serve(service, sqlite_url)
    assert "stop that one" in beside(running).run("prune", "--vacuum", "--bodies-days", "90", code=2)
    make_tables(postgresql_url)
    assert "SQLite" in PruningOperator(tmp_path, environment(postgresql_url)).run("prune", "--vacuum", code=2)
    assert count_rows(sqlite_url, "bodies") == 31


def test_a_file_is_not_written_anew_where_there_is_no_room(
    sqlite_url: str, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(sqlite_url)
    usage = namedtuple("usage", "total used free")
    database = Database(sqlite_url)
    database.take()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: usage(100, 99, 1))
        with pytest.raises(StorageUnavailable, match="Not enough space"):
            database.vacuum()
    database.vacuum()
    database.close()
    with pytest.raises(ConfigurationError):
        Database(postgresql_url).vacuum()


def test_the_service_prunes_and_answers_deliveries_meanwhile(service: StartService, sqlite_url: str) -> None:
    fill(sqlite_url, 900)
    running = serve(service, sqlite_url)
    assert order(running, bodies_days=90).json()["removed"]["bodies"]["rows"] > 0
    assert running.post(ship24.single()).outcomes() == ["applied"]
    wait_until(lambda: '"data_pruned"' in running.logs(), "it is told")
