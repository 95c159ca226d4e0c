"""The changes of a target that the settings no longer name are removed only on an operator's command."""

import json
from pathlib import Path

import pytest

from receiver.storage.database import Database
from receiver.storage.dropping import Dropped, drop_target
from tests.harness.changes import SECRET, write_targets
from tests.harness.command import run_command
from tests.harness.ports import free_port
from tests.harness.rows import table_rows
from tests.harness.service import bearer, name_of, serving
from tests.harness.storage import change as change_database
from tests.harness.storage import delete_rows, make_tables, update_rows

OPS = "planted-ops-token"
KEYS = "target, source, tracker_id, move, event_id"


def fill(url: str, target: str, waiting: int, dead: int) -> None:
    make_tables(url)
    counted = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) INSERT INTO "
    rows = f"dispatches ({KEYS}, due_at, attempts, made_at) SELECT '{target}', 'ship24', 't', i, 'e', 1, 0, 1 FROM n"
    gone = f"dead_changes ({KEYS}, died_at, attempts, error) SELECT '{target}', 'ship24', 'd', i, 'e', 1, 13, 'no' FROM n"
    stop = f"INSERT INTO stopped_targets (target, stopped_at, reason) VALUES ('{target}', 1, 'it is gone')"
    change_database(url, counted.format(waiting) + rows, counted.format(dead) + gone, stop)


def left(url: str) -> list[str]:
    tables = ("dispatches", "dead_changes", "stopped_targets")
    return sorted(target for table in tables for target in {row["target"] for row in table_rows(url, table, "target")})


def run(url: str, directory: Path, *arguments: str, code: int = 0, **env: str) -> str:
    done = run_command(*arguments, cwd=directory, env={"RECEIVER_DATABASE_URL": url, "RECEIVER_SHIP24_TOKENS": "t" * 20, **env})
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    return done.stdout + done.stderr


def test_a_batch_is_bounded_and_the_last_one_removes_the_stop_of_the_target(database_url: str) -> None:
    fill(database_url, "old", 5, 5)
    fill(database_url, "kept", 1, 1)
    database = Database(database_url)
    pieces = []
    with database.connect_writer() as connection:
        while any(piece := drop_target(connection, "old", limit=4)):
            pieces.append(piece)
            assert ("stopped_targets" in left_of(connection)) == (len(pieces) < 3)
        connection.commit()
    database.close()
    assert pieces == [Dropped(4, 0), Dropped(1, 3), Dropped(0, 2)]
    assert left(database_url) == ["kept"] * 3


def left_of(connection: object) -> list[str]:
    found = connection.exec_driver_sql("SELECT count(*) FROM stopped_targets WHERE target = 'old'").scalar()  # type: ignore[attr-defined]
    return ["stopped_targets"] * found


def test_the_command_removes_it_all_on_record(database_url: str, tmp_path: Path) -> None:
    fill(database_url, "old", 1500, 2)
    fill(database_url, "kept", 1, 1)
    write_targets(tmp_path)
    said = run(database_url, tmp_path, "targets", "drop", "old", "--yes")
    assert said == "Removed: 1,500 waiting and 2 failed changes of old.\n"
    assert left(database_url) == ["kept"] * 3
    assert table_rows(database_url, "audit", "action", "subject") == [{"action": "targets drop", "subject": "old"}]
    assert "There is no target old" in run(database_url, tmp_path, "targets", "drop", "old", "--yes", code=1)


def test_it_asks_first(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url, "old", 1, 1)
    assert "Add --yes" in run(sqlite_url, tmp_path, "targets", "drop", "old", code=2)
    assert left(sqlite_url) == ["old"] * 3


@pytest.mark.parametrize("name", ["shop", "never-heard-of"])
def test_dropping_a_target_of_the_settings_or_an_unknown_one_is_refused_in_one_line(
    sqlite_url: str, tmp_path: Path, name: str
) -> None:
    fill(sqlite_url, "shop", 1, 1)
    write_targets(tmp_path, shop="https://shop.example/")
    secret = {"RECEIVER_TARGET_SECRETS": f"shop:{SECRET}"}
    said = run(sqlite_url, tmp_path, "targets", "drop", name, "--yes", code=1, **secret)
    assert said.count("\n") == 1
    assert name in said
    assert left(sqlite_url) == ["shop"] * 3


def test_doctor_shows_what_waits_and_names_the_way_out(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url, "old", 3, 2)
    fill(sqlite_url, "shop", 1, 4)
    write_targets(tmp_path, shop="http://127.0.0.1:1/", idle="http://127.0.0.1:1/")
    env = {"RECEIVER_TARGET_SECRETS": f"shop:{SECRET},idle:{SECRET}", "RECEIVER_PORT": str(free_port())}
    found = {finding["subject"]: finding for finding in json.loads(run(sqlite_url, tmp_path, "doctor", "--json", code=1, **env))}
    assert found["target idle"] == {"verdict": "ok", "subject": "target idle", "finding": "0 waiting; 0 failed"}
    assert found["target old"]["verdict"] == found["target shop"]["verdict"] == found["relay"]["verdict"] == "warn"
    assert "receiver targets drop old`: 3 waiting, the oldest since 1970-01-01T00:00" in found["target old"]["finding"]
    assert "receiver targets resume shop`: 1 waiting" in found["target shop"]["finding"]
    delete_rows(sqlite_url, "stopped_targets")
    update_rows(sqlite_url, "dispatches", error="shop answered 500.")
    found = {finding["subject"]: finding for finding in json.loads(run(sqlite_url, tmp_path, "doctor", "--json", code=1, **env))}
    assert "failing since 1970-01-01T00:00:00.000Z (shop answered 500.): 1 waiting" in found["target shop"]["finding"]


def test_a_running_service_removes_it_and_refuses_what_its_settings_name(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url, "old", 3, 2)
    directory = tmp_path / "service"
    write_targets(directory, shop="http://127.0.0.1:1/")
    with serving(directory, sqlite_url, ops_tokens=OPS, target_secrets=f"shop:{SECRET}") as running:
        body = json.dumps({"target": "shop"}).encode()
        refused = running.call("POST", "/ops/api/targets/drop", body, bearer(OPS))
        assert (refused.status, refused.json()["error"]["code"]) == (409, "target_in_use")
        done = run_command("targets", "drop", "old", "--yes", cwd=directory, env=running.env)
        assert (done.returncode, done.stdout) == (0, "Removed: 3 waiting and 2 failed changes of old.\n")
        assert left(sqlite_url) == []
        assert running.table("audit", "action", "actor") == [{"action": "targets drop", "actor": name_of(OPS)}]
