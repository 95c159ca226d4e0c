"""Commands find the service and the database that they belong to, from every folder of the project."""

import json
import re
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from receiver import __version__
from receiver.storage.database import Database
from tests.conftest import StartService
from tests.harness import fork_server, ship24
from tests.harness.changes import write_targets
from tests.harness.command import run_command, run_process
from tests.harness.endpoint import answering, say
from tests.harness.ports import free_port
from tests.harness.service import Service, environment, wait_until
from tests.harness.storage import make_tables, update_rows

OPS = "the-ops-token-of-these-tests"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a database, and a folder in it."""
    folder = tmp_path / "shop"
    (folder / "data").mkdir(parents=True)
    (folder / "deep/deeper").mkdir(parents=True)
    make_tables(f"sqlite:///{folder}/data/receiver.db")
    (folder / ".env").write_text("RECEIVER_SHIP24_TOKENS=the-token-of-these-tests\n", encoding="utf-8")
    return folder


def run(folder: Path, *arguments: str, code: int = 0, **variables: str) -> str:
    """Run a command in a folder, with no settings but the given variables; return all that it printed."""
    done = run_command(*arguments, cwd=folder, env={**fork_server.BASE, **variables})
    assert done.returncode == code, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_command_finds_the_database_from_every_folder_of_the_project(project: Path) -> None:
    before = files_below(project / "deep")
    for folder in (project, project / "deep/deeper"):
        assert "No trackers" in run(folder, "trackers", "list")
    assert "No trackers" in run(project.parent, "trackers", "list", RECEIVER_HOME=str(project))
    assert f"{project}/data/receiver.db: schema version" in run(project / "deep", "migrate")
    assert files_below(project / "deep") == before


@pytest.mark.parametrize("command", [["migrate"], ["trackers", "list"], ["serve"]])
def test_in_a_wrong_folder_no_database_is_made_and_the_right_one_is_named(project: Path, command: list[str]) -> None:
    before = files_below(project.parent)
    shown = run(project.parent, *command, code=2)
    assert f"No .env, config/receiver.toml or data/receiver.db in {project.parent} or a folder above it" in shown
    assert "There is a database in shop" in shown
    assert "receiver migrate" not in shown
    assert files_below(project.parent) == before


def test_in_an_empty_folder_init_begins_a_project_even_within_another_one(project: Path) -> None:
    fresh = project / "deep/deeper"
    assert "Created .env" in run(fresh, "init")
    assert "data/receiver.db: schema version" in run(fresh, "migrate")
    assert (fresh / "data/receiver.db").exists()
    home = project.parent / "home"
    home.mkdir()
    run(project, "init", RECEIVER_HOME=str(home))
    assert (home / ".env").stat().st_mode & 0o777 == 0o600


def test_a_setting_in_the_environment_is_enough_to_make_a_database(tmp_path: Path) -> None:
    assert "schema version" in run(tmp_path, "migrate", RECEIVER_DATABASE_URL="sqlite:///data/receiver.db")
    assert (tmp_path / "data/receiver.db").exists()


def reported(running: Service) -> Service:
    """Wait until a service has told in the database that it runs."""
    wait_until(lambda: running.table("processes"), "the service has reported")
    return running


@pytest.fixture
def running(service: StartService, sqlite_url: str) -> Service:
    return reported(service(sqlite_url, ops_tokens=f"anna:{OPS}"))


def test_a_command_asks_the_service_on_the_port_with_which_it_was_started(running: Service) -> None:
    early = running.post(ship24.single("far", events=[ship24.event("e", "2199-01-01")])).json()["delivery_id"]
    env = environment(running.database_url, ops_tokens=f"anna:{OPS}")
    assert "RECEIVER_PORT" not in env
    done = run_command("deliveries", "replay", early, "--force", "--yes", cwd=running.directory, env=env)
    assert done.returncode == 0, done.stderr
    assert running.value("messages", "outcome") == "applied"


def test_another_program_on_the_port_of_the_service_is_not_taken_for_it(project: Path) -> None:
    database = Database(f"sqlite:///{project}/data/receiver.db")
    database.take()
    with closing(database), answering(say(200, "Content-Type: text/html")) as other:
        port = other.url.split(":")[2].split("/")[0]
        shown = run_process("prune", cwd=project, env={**fork_server.BASE, "RECEIVER_OPS_TOKENS": OPS, "RECEIVER_PORT": port})
    assert shown.returncode == 1
    assert re.search(r"^receiver: .* Another program answers at \S+\n$", shown.stderr)


# doctor


def findings(running: Service, code: int, **settings: str) -> dict[str, Any]:
    env = {**running.env, **{f"RECEIVER_{name.upper()}": value for name, value in settings.items()}}
    done = run_command("doctor", "--json", cwd=running.directory, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    return {finding["subject"]: (finding["verdict"], finding["finding"]) for finding in json.loads(done.stdout)}


def test_doctor_says_which_settings_the_running_service_has_not_loaded(running: Service) -> None:
    found = findings(running, 0)
    assert found["service"][0] == "ok"
    process = running.value("processes", "process_id")
    assert found["port"] == ("ok", f"127.0.0.1, port {running.port}: in use by the running service (process {process})")
    changed = {"max_body_bytes": "2048", "ops_tokens": f"anna:{OPS},ben:another-token-of-these-tests"}
    verdict, words = findings(running, 0, **changed)["service"]
    assert verdict == "warn"
    assert words.startswith("restart needed: the running service still has other values of ")
    assert {"RECEIVER_MAX_BODY_BYTES", "RECEIVER_OPS_TOKENS"} == set(words.partition("of ")[2].partition(" (")[0].split(", "))
    assert OPS not in words


def test_doctor_says_that_the_running_service_is_of_another_version(running: Service) -> None:
    update_rows(running.database_url, "processes", program="0.0.1")
    verdict, words = findings(running, 0)["service"]
    assert (verdict, f"version 0.0.1 (installed: {__version__})" in words) == ("warn", True)


def test_doctor_finds_what_the_service_would_not_start_with(service: StartService, sqlite_url: str) -> None:
    stopped = service(sqlite_url)
    stopped.stop()
    (stopped.directory / "broken.py").write_text("import nothing_like_it\n", encoding="utf-8")
    (stopped.directory / "leaves.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    broken = {
        "broken": "module nothing_like_it not found",
        "leaves": "leaves cannot be imported",
        "gone": "module gone not found",
    }
    for module, words in broken.items():
        verdict, finding = findings(stopped, 1, handlers=module)["start"]
        assert (verdict, words in finding) == ("fail", True), finding
    write_targets(stopped.directory, shop="https://example.org/hook")
    verdict, finding = findings(stopped, 1)["start"]
    assert (verdict, "RECEIVER_TARGET_SECRETS" in finding) == ("fail", True), finding


def test_doctor_finds_a_port_that_another_program_uses(service: StartService, sqlite_url: str) -> None:
    stopped = service(sqlite_url)
    stopped.stop()
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        verdict, finding = findings(stopped, 1, port=str(port))["port"]
    assert verdict == "fail"
    assert "Another program uses it" in finding
    assert findings(stopped, 1)["port"] == ("ok", f"127.0.0.1, port {stopped.port}: free")


def test_doctor_finds_a_secret_file_that_other_users_can_read(running: Service) -> None:
    secret = running.directory / "secret"
    secret.write_text(f"anna:{OPS}\n", encoding="utf-8")
    secret.chmod(0o644)
    env = {name: value for name, value in running.env.items() if name != "RECEIVER_OPS_TOKENS"}
    done = run_command("doctor", cwd=running.directory, env={**env, "RECEIVER_OPS_TOKENS_FILE": "secret"})
    assert "other users can read secret; run `chmod 600 secret`" in " ".join(done.stdout.split())
