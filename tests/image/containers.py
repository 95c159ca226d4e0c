"""The image, built and run: `make test-image`. It takes minutes, so `make test` does not collect it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver import __version__
from receiver.processes.stopping import STOP_SECONDS
from tests.conftest import lacking
from tests.harness import ship24
from tests.harness.container import HARDENED, Container, build_image, engine, find_engine, inspect, run, write_secret
from tests.harness.service import SHIP24, TOKEN, wait_until
from tests.harness.traffic import Traffic

IMAGE = "receiver-test"
OPS = "the-ops-token-of-these-tests"
VOLUME = "receiver-test-data"
NO_SHELL = tuple(f"--volume=/dev/null:{shell}" for shell in ("/bin/sh", "/bin/bash"))


@pytest.fixture(scope="module", autouse=True)
def image() -> None:
    """Build the image."""
    if find_engine() is None:
        lacking("neither docker nor podman runs containers here (Debian packages: podman, runc)")
    build_image(IMAGE)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """A container on a new volume, without a shell and with a read-only root; its tables are made, it is not started."""
    engine("volume", "create", VOLUME)
    secrets = (write_secret(tmp_path / "tokens", TOKEN), write_secret(tmp_path / "ops", f"anna:{OPS}"))
    files = ("--env=RECEIVER_SHIP24_TOKENS_FILE=/run/secrets/tokens", "--env=RECEIVER_OPS_TOKENS_FILE=/run/secrets/ops")
    options = (*HARDENED, *NO_SHELL, f"--volume={VOLUME}:/data", *secrets, *files, "--env=RECEIVER_SHIP24_IP_POLICY=off")
    made = Container(IMAGE, "receiver-test", options)
    try:
        assert "/data/receiver.db: schema version" in run(IMAGE, "migrate", options=options).stdout.replace("///data", "/data")
        yield made
    finally:
        made.remove()
        engine("volume", "rm", "--force", VOLUME)


def test_it_says_what_it_is_and_holds_nothing_that_only_builds_or_is_secret() -> None:
    config = inspect("image", IMAGE)["Config"]
    assert (config["User"], config["Entrypoint"], config["Cmd"]) == ("10001:10001", ["receiver"], ["serve"])
    assert set(config["Volumes"]) == {"/data"}
    assert set(config["ExposedPorts"]) == {"8080/tcp"}
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert run(IMAGE, "--version").stdout == f"receiver, version {__version__}\n"
    code = "import importlib.metadata as m, json, os; print(json.dumps([[d.name for d in m.distributions()], os.listdir('/')]))"
    packages, root = json.loads(run(IMAGE, "-c", code, options=["--entrypoint", "/opt/receiver/bin/python3"]).stdout)
    assert {"pip", "setuptools", "flit_core"} & set(packages) == set()
    assert {".env", ".git", "source", "tests"} & set(root) == set()


def test_stopped_under_load_and_started_again_it_has_lost_nothing(container: Container) -> None:
    container.start()
    assert container.healthcheck().stdout == "ready\n"
    reply = container.call("POST", SHIP24, ship24.single("first"), TOKEN)
    assert (reply.status, reply.outcomes()) == (200, ["applied"])
    with Traffic(container, senders=4) as traffic:
        traffic.wait_for_answers(300)
        ended = container.stop(grace_seconds=int(STOP_SECONDS) + 10)
        assert ended.code == 0, container.logs()
        assert ended.seconds < STOP_SECONDS
        assert '"stop_requested"' in container.logs()
        container.remove()
        container.start()
        traffic.wait_for_answers(300)
        assert traffic.settle() == set(), "what was answered 200 is not there"
        kept = set(traffic.kept)
    assert container.call("POST", SHIP24, ship24.single("first"), TOKEN).outcomes() == ["duplicate"]
    assert all(container.get(f"/ops/api/deliveries/{delivery}", OPS).status == 200 for delivery in sorted(kept)[:50])
    assert set(traffic.statuses) <= {0, 200, 503}


def test_the_health_check_says_so_when_the_service_is_not_ready(container: Container) -> None:
    container.start()
    container.execute("python3", "-c", "import os; os.rename('/data/receiver.db', '/data/moved.db')")
    wait_until(lambda: container.get("/readyz").status == 503, "it has noticed")
    done = container.healthcheck()
    assert (done.returncode, "answered 503; not ok: " in done.stderr) == (1, True)


def test_process_1_reaps_what_lost_its_parent(container: Container) -> None:
    container.start()
    container.execute("python3", "-c", "import os, time; os.fork() or time.sleep(0.5)")  # the parent ends first

    def states() -> set[tuple[str, ...]]:
        code = (
            "import os, pathlib; [print(*pathlib.Path('/proc', p, 'stat').read_text().rpartition(')')[2].split()[:2]) "
            "for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()]"
        )
        return {tuple(line.split()) for line in container.execute("python3", "-c", code).stdout.splitlines()}

    wait_until(lambda: len(states()) > 0 and ("Z", "1") not in states(), "no process is left dead")
    assert container.stop(grace_seconds=40).code == 0
