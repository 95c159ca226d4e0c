"""Liveness and readiness: the process serves; deliveries can be stored."""

import sqlite3
from pathlib import Path

from receiver.storage.database import Database
from tests.conftest import StartService
from tests.harness.service import wait_until


def test_a_service_that_serves_is_alive_and_ready(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    assert (running.get("/healthz").status, running.get("/healthz").json()) == (200, {"status": "ok"})
    ready = running.get("/readyz")
    assert (ready.status, ready.json()["status"]) == (200, "ready")
    checks = ready.json()["checks"]
    assert {"database", "schema", "writer", "queue", "disk"} <= set(checks)
    assert all(check["ok"] is True for check in checks.values())
    assert isinstance(ready.json()["warnings"], list)


def test_both_spellings_of_a_health_path_do(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    assert [running.get(path).status for path in ("/healthz/", "/readyz/")] == [200, 200]


def test_health_needs_no_token_and_takes_nothing_but_questions(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    for path in ("/healthz", "/readyz"):
        answer = running.call("POST", path, b"{}")
        assert (answer.status, answer.json()["error"]["code"]) == (405, "method_not_allowed")
        assert "GET" in answer.headers["allow"]


def test_readiness_tells_an_outsider_no_detail(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    answer = running.get("/readyz").body.decode()
    url = Database(sqlite_url).url
    for detail in (str(url.database), str(url.port or "sqlite"), "127.0.0.1"):
        assert detail not in answer


def test_warnings_are_names_alone_and_leave_a_service_ready(service: StartService, sqlite_url: str, tmp_path: Path) -> None:
    config = tmp_path / "receiver.toml"
    ends = ['"ship24:the-old-one" = 2020-01-31', '"ship24:the-new-one" = 2020-02-29']
    config.write_text("\n".join(["alarm_disk_percent = 0", "[token_ends]", *ends]), encoding="utf-8")
    running = service(sqlite_url, config=str(config), ship24_tokens="the-old-one:abc,the-new-one:def")
    wait_until(lambda: running.get("/readyz").json()["warnings"], "the first look")
    answer = running.get("/readyz")
    assert (answer.status, answer.json()["status"], answer.json()["warnings"]) == (200, "ready", ["token"])
    assert [detail for detail in ("the-old-one", "ship24", "2020") if detail in answer.body.decode()] == []


def test_a_service_whose_tables_are_of_another_version_is_alive_but_not_ready(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    with sqlite3.connect(str(Database(sqlite_url).path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'another'")
    connection.close()
    wait_until(lambda: running.get("/readyz").status == 503, "the service is not ready")
    assert running.get("/readyz").json()["checks"]["schema"] == {"ok": False}
    assert running.get("/healthz").status == 200
