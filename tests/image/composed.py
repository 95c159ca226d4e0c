"""The compose file with SQLite, from nothing to a delivery, as the guide says."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.conftest import lacking
from tests.harness.container import PublishedPort, build_image, engine, find_engine, limit_podman, run
from tests.harness.ports import free_port
from tests.harness.service import DEADLINE_SECONDS, ROOT, SHIP24, wait_until

IMAGE = "receiver-test"
GROUPED = ROOT / "tests/payloads/ship24/grouped.json"
Compose = Callable[..., str]


def find_compose() -> list[str]:
    """Return the command that runs compose files with the engine that is here."""
    if find_engine() == "docker":
        return ["docker", "compose"]
    return [str(Path(sys.executable).with_name("podman-compose"))]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def compose(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Compose]:
    """Run compose in a copy of `config/` with secrets of its own; all is removed in the end."""
    if find_engine() is None:
        lacking("neither docker nor podman runs containers here (Debian packages: podman, runc)")
    monkeypatch.setenv("CONTAINERS_CONF", str(limit_podman(tmp_path)))
    build_image(IMAGE)
    if engine("run", "--rm", IMAGE, "--version", check=False).returncode:
        lacking("containers have no network of their own here (Debian packages: containernetworking-plugins, iptables)")
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / ".env").write_text(run(IMAGE, "init", "--print").stdout, encoding="utf-8")
    command = [*find_compose(), "--file", "config/compose.yaml", "--project-name", "receiver-test"]
    env = {**os.environ, "RECEIVER_IMAGE": IMAGE, "HOST_PORT": str(port)}

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    yield call
    call("down", "--volumes")


def test_from_nothing_to_a_delivery_and_over_a_restart(compose: Compose, port: int, tmp_path: Path) -> None:
    receiver = PublishedPort(port)
    token = dotenv_values(tmp_path / ".env")["RECEIVER_SHIP24_TOKENS"]

    def deliver() -> list[str]:
        reply = receiver.call("POST", SHIP24, GROUPED.read_bytes(), token)
        assert reply.status == 200, reply
        return reply.outcomes()

    compose("up", "--detach")
    wait_until(receiver.is_ready, "it is ready")
    assert receiver.call("POST", SHIP24, GROUPED.read_bytes(), token).status == 403, "seen from there this is another machine"
    assert "accepted until" in compose("exec", "-T", "receiver", "receiver", "setup-window", "ship24", "--minutes", "10")
    assert deliver() == ["applied", "applied", "stale"]
    assert receiver.call("GET", "/ops/sign-in", None, None).status == 200
    compose("down")
    compose("up", "--detach")
    wait_until(receiver.is_ready, "it is ready again")
    assert deliver() == ["duplicate"] * 3
    assert compose("run", "--rm", "migrate").startswith("sqlite:///data/receiver.db: schema version "), "beside the service"
