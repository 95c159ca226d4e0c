"""The command `healthcheck`: whether the service of these settings is ready, for the health checks of containers."""

import re
from pathlib import Path

from tests.conftest import StartService
from tests.harness import fork_server
from tests.harness.command import run_command
from tests.harness.ports import free_port
from tests.harness.service import wait_until


def run(folder: Path, **variables: str) -> tuple[int, str]:
    done = run_command("healthcheck", cwd=folder, env={**fork_server.BASE, **variables})
    return done.returncode, done.stdout + done.stderr


def test_a_service_is_healthy_until_it_loses_its_database(service: StartService, sqlite_url: str, tmp_path: Path) -> None:
    running = service(sqlite_url)
    here = {"RECEIVER_PORT": str(running.port)}
    assert run(tmp_path, **here) == (0, "ready\n")
    (tmp_path / "receiver.db").rename(tmp_path / "moved.db")
    wait_until(lambda: running.get("/readyz").status == 503, "it has noticed")
    code, said = run(tmp_path, **here)
    assert code == 1
    address = f"http://127.0.0.1:{running.port}/readyz"
    assert re.fullmatch(rf"receiver: {address} answered 503; not ok: [a-z, ]+\.\n", said), said


def test_without_a_service_it_ends_with_1_and_says_where_it_asked(tmp_path: Path) -> None:
    port = str(free_port())
    assert run(tmp_path, RECEIVER_PORT=port) == (
        1,
        f"receiver: No answer at http://127.0.0.1:{port}/readyz: Connection refused.\n",
    )
    code, said = run(tmp_path, RECEIVER_HOST="127..0.0.1", RECEIVER_PORT=port)
    assert (code, said.startswith(f"receiver: No answer at http://127..0.0.1:{port}/readyz: ")) == (1, True), said
    assert run(tmp_path, RECEIVER_PORT="http") == (1, "receiver: RECEIVER_PORT: expected a number.\n")
