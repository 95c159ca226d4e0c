"""The compose files, from nothing to a delivery, as the guide says."""

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.conftest import lacking
from tests.harness import ship24
from tests.harness.container import PublishedPort, build_image, engine, find_engine, limit_podman, run
from tests.harness.nginx import make_certificate
from tests.harness.ports import free_port
from tests.harness.service import DEADLINE_SECONDS, ROOT, SHIP24, TOKEN, wait_until
from tests.harness.traffic import Senders
from tests.image.servers import COMPOSE_FILE, provide_servers

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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of `config/` and with secrets of its own in `.env`. The image is built."""
    if find_engine() is None:
        lacking("neither docker nor podman runs containers here (Debian packages: podman, runc)")
    monkeypatch.setenv("CONTAINERS_CONF", str(limit_podman(tmp_path)))
    build_image(IMAGE)
    if engine("run", "--rm", IMAGE, "--version", check=False).returncode:
        lacking("containers have no network of their own here (Debian packages: containernetworking-plugins, iptables)")
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / ".env").write_text(run(IMAGE, "init", "--print").stdout, encoding="utf-8")
    return tmp_path


@contextmanager
def composing(folder: Path, file: str, variables: dict[str, str], *options: str) -> Iterator[Compose]:
    """Run compose with a file; all is removed in the end."""
    command = [*find_compose(), *options, "--file", f"config/{file}", "--project-name", "receiver-test"]
    env = {**os.environ, "RECEIVER_IMAGE": IMAGE, **variables}

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    try:
        yield call
    finally:
        call("down", "--volumes")


def test_from_nothing_to_a_delivery_and_over_a_restart(folder: Path, port: int) -> None:
    receiver = PublishedPort(port)
    token = dotenv_values(folder / ".env")["RECEIVER_SHIP24_TOKENS"]

    def deliver() -> list[str]:
        reply = receiver.call("POST", SHIP24, GROUPED.read_bytes(), token)
        assert reply.status == 200, reply
        return reply.outcomes()

    with composing(folder, "compose.yaml", {"HOST_PORT": str(port)}) as compose:
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


class TlsPort(PublishedPort):
    """The port of the proxy, which has a certificate signed by itself."""

    def __init__(self, port: int, certificate: Path) -> None:
        super().__init__(port)
        self._trusted = ssl.create_default_context(cafile=str(certificate))

    def connect(self) -> HTTPSConnection:
        """Return a connection to the port."""
        return HTTPSConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS, context=self._trusted)

    def is_ready(self) -> bool:
        """Return whether a receiver answers through the proxy."""
        with suppress(OSError, HTTPException):
            return self.call("POST", SHIP24, ship24.single("first"), TOKEN).status == 200
        return False


def find_container(service: str) -> str:
    """Return the ID of the running container of a service."""
    labels = (f"--filter=label=com.docker.compose.{name}" for name in (f"service={service}", "project=receiver-test"))
    return engine("ps", "--quiet", *labels).stdout.strip()


def test_on_postgresql_one_of_two_receivers_is_killed_behind_the_proxy_and_nothing_is_lost(folder: Path, port: int) -> None:
    servers = provide_servers(folder)
    secrets = dotenv_values(folder / ".env") | {"RECEIVER_SHIP24_TOKENS": TOKEN, "POSTGRES_PASSWORD": "the-password"}
    lines = [f"{name}={value}\n" for name, value in (secrets | {"RECEIVER_SHIP24_IP_POLICY": "off"}).items()]
    (folder / ".env").write_text("".join(lines), encoding="utf-8")
    (folder / "config/tls").mkdir()
    proxy = TlsPort(port, make_certificate(folder / "config/tls", "127.0.0.1"))
    at_once = ["--no-deps"] if find_engine() == "podman" else []  # podman 4 cannot start a chain of dependencies
    with composing(folder, COMPOSE_FILE.name, {"HTTPS_PORT": str(port), **servers}, "--env-file", ".env") as compose:
        compose("up", "--detach", *at_once)
        wait_until(proxy.is_ready, "a delivery is taken")
        assert proxy.call("POST", SHIP24, ship24.single("first"), TOKEN).outcomes() == ["duplicate"]
        one = find_container("receiver-1")
        with Senders(proxy, senders=4) as traffic:
            traffic.wait_for_answers(200)
            engine("kill", one)
            traffic.wait_for_answers(200)
            engine("start", one)
            wait_until(lambda: engine("exec", one, "receiver", "healthcheck", check=False).returncode == 0, "it is back")
            traffic.wait_for_answers(200)
            assert traffic.settle() == set(), "what was answered 200 is not there"
            kept = sorted(traffic.kept)
        assert set(traffic.statuses) <= {0, 200, 503}
        token = str(secrets["RECEIVER_OPS_TOKENS"])
        assert all(proxy.get(f"/ops/api/deliveries/{delivery}", token).status == 200 for delivery in kept[-50:])
        assert compose("run", "--rm", "--no-deps", "migrate").startswith("postgresql"), "beside the service"
