"""When deliveries may have been lost, as the command, the API and `doctor` tell it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from receiver.clock import iso, now, to_micros
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.rows import table_rows
from tests.harness.service import environment, wait_until
from tests.harness.storage import Plus, add_row, make_tables, update_rows

OPS = "the-ops-token-of-these-tests"
HOUR = 3_600_000_000


def run(folder: Path, env: Mapping[str, str], *arguments: str) -> str:
    done = run_command(*arguments, cwd=folder, env=env)
    assert "Traceback" not in done.stderr
    return done.stdout


def listed(folder: Path, env: Mapping[str, str], *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(folder, env, "downtime", "list", "--json", *arguments))["items"]
    return found


def test_a_stop_of_the_service_is_told_with_its_command_until_it_was_reconciled(
    service: StartService, sqlite_url: str, tmp_path: Path
) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    wait_until(lambda: table_rows(sqlite_url, "service_spans"), "it notes that it runs")
    assert listed(tmp_path, running.env) == []
    running.stop()
    (span,) = table_rows(sqlite_url, "service_spans")
    update_rows(sqlite_url, "service_spans", began_at=Plus(-3 * HOUR), seen_at=Plus(-2 * HOUR))
    running.restart()
    wait_until(lambda: len(table_rows(sqlite_url, "service_spans")) == 2, "it notes that it runs again")
    (stop,) = listed(tmp_path, running.env)
    assert (stop["began_at"], stop["kind"], stop["source"]) == (iso(span["seen_at"] - 2 * HOUR), "stopped", None)
    assert stop["command"] == f"receiver reconcile ship24 --since {stop['began_at']} --until {stop['ended_at']}"
    assert running.get("/ops/api/downtime", OPS).json()["items"] == [stop]
    assert listed(tmp_path, running.env, "--since", "1h") == [stop], "it ended in this hour"
    assert running.get(f"/ops/api/downtime?since={iso(to_micros(now()) + HOUR)}", OPS).json()["items"] == []
    (tmp_path / "packages.csv").write_text("Package ID\np-1\n")
    run(tmp_path, running.env, "reconcile", "shiipp", "--file", "packages.csv")
    assert stop["command"] in run(tmp_path, running.env, "doctor"), "an export of Shiipp has nothing of Ship24"
    assert "no service ran" in run(tmp_path, running.env, "downtime", "list")


def test_of_several_receivers_the_last_one_to_end_begins_a_downtime(
    service: StartService, postgresql_url: str, tmp_path: Path
) -> None:
    """Times in the database are moved back: whatever is shorter than two minutes is told by nobody."""
    one, other = (service(postgresql_url, ops_tokens=OPS) for _ in range(2))

    def go_back(hours: int, process: str) -> None:
        update_rows(postgresql_url, "service_spans", {"id": process}, began_at=Plus(-hours * HOUR), seen_at=Plus(-hours * HOUR))

    wait_until(lambda: len(table_rows(postgresql_url, "service_spans")) == 2, "both note that they run")
    first, second = (row["id"] for row in table_rows(postgresql_url, "service_spans", "id", order="began_at"))
    one.kill()
    go_back(5, first)
    update_rows(postgresql_url, "service_spans", {"id": second}, began_at=Plus(-6 * HOUR))
    assert listed(tmp_path, other.env) == [], "the other one served all the time"
    other.kill()
    go_back(2, second)
    (ended,) = table_rows(postgresql_url, "service_spans", "seen_at", id=second)
    (stop,) = listed(tmp_path, other.env)
    assert (stop["began_at"], stop["ended_at"], stop["kind"]) == (iso(ended["seen_at"]), None, "stopped")
    one.restart()
    wait_until(lambda: len(table_rows(postgresql_url, "service_spans")) == 3, "it notes that it runs again")
    (stop,) = listed(tmp_path, other.env)
    (third,) = (row for row in table_rows(postgresql_url, "service_spans") if row["id"] not in {first, second})
    assert (stop["began_at"], stop["ended_at"]) == (iso(ended["seen_at"]), iso(third["began_at"]))


def test_a_source_that_was_rejected_is_told(service: StartService, sqlite_url: str, tmp_path: Path) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    for _ in range(3):
        assert running.post(ship24.single(), token="another").status == 401
    running.stop()  # writes the counts
    (found,) = listed(tmp_path, running.env)
    assert (found["kind"], found["source"]) == ("refused", "ship24")


def test_nothing_known_is_nothing_lost(sqlite_url: str, tmp_path: Path) -> None:
    make_tables(sqlite_url)
    assert listed(tmp_path, environment(sqlite_url)) == []


def test_hours_are_looked_at_where_minutes_are_no_longer_kept(sqlite_url: str, tmp_path: Path) -> None:
    """However little further back than the minutes the question goes."""
    make_tables(sqlite_url)
    at = to_micros(now()) - 80 * HOUR
    begins_at = at - at % HOUR
    values = {
        "span_seconds": 3600,
        "begins_at": begins_at,
        "writer": "w",
        "source": "ship24",
        "outcome": "refused",
        "code": "unauthorized",
    }
    numbers = dict.fromkeys(("unrecorded", "received", "applied", "stale", "duplicate", "recorded", "quarantined"), 0) | {
        "calls": 5
    }
    add_row(sqlite_url, "tallies", **values, **numbers)
    for since in ("82h", "30d"):
        (found,) = listed(tmp_path, environment(sqlite_url), "--since", since)
        assert (found["kind"], found["began_at"]) == ("refused", iso(begins_at)), since
