"""The image, built and run: `make test-image`. It takes minutes, so `make test` does not collect it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pydantic_settings
import pytest

from receiver import __version__
from receiver.processes.stopping import STOP_SECONDS
from receiver.storage.version import VERSION
from tests.conftest import lacking
from tests.harness import ship24
from tests.harness.container import HARDENED, Container, build_image, engine, find_engine, inspect, run, write_secret
from tests.harness.earlier_version import EARLIER_TABLES, NotCloned, unpack_earlier
from tests.harness.service import SHIP24, TOKEN, wait_until
from tests.harness.traffic import Senders

IMAGE = "receiver-test"
OPS = "the-ops-token-of-these-tests"
VOLUME = "receiver-test-data"
_MAKE_LATER = """
import sqlite3
database = sqlite3.connect("/data/receiver.db")
database.execute("UPDATE alembic_version SET version_num = '9999'")
database.commit()
"""
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
    with Senders(container, senders=4) as traffic:
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


def test_a_volume_of_an_earlier_version_is_upgraded_and_one_of_a_later_version_is_refused(tmp_path: Path) -> None:
    try:
        unpack_earlier(tmp_path / "earlier")
    except NotCloned as missing:
        lacking(str(missing))
    shutil.copytree(Path(pydantic_settings.__file__).parent, tmp_path / "earlier/pydantic_settings")  # not in the image
    settings = (f"--env=RECEIVER_SHIP24_TOKENS={TOKEN}", "--env=RECEIVER_SHIP24_IP_POLICY=off")
    options = (*HARDENED, f"--volume={VOLUME}:/data", *settings)
    earlier = Container(
        IMAGE, "receiver-test", (*options, f"--volume={tmp_path}/earlier:/earlier:ro", "--env=PYTHONPATH=/earlier")
    )
    ours = Container(IMAGE, "receiver-test", options)
    engine("volume", "create", VOLUME)
    try:
        earlier.run("migrate")
        earlier.start()
        assert earlier.call("POST", SHIP24, ship24.single("before"), TOKEN).status == 200
        assert earlier.stop(grace_seconds=40).code == 0
        earlier.remove()
        refused = ours.run("serve", check=False)
        assert refused.returncode == 2
        assert f"The tables are of version {EARLIER_TABLES}, expected {VERSION}. Run `receiver migrate` first." in refused.stderr
        assert f": schema version {VERSION}" in ours.run("migrate").stdout
        ours.start()
        assert ours.call("POST", SHIP24, ship24.single("before"), TOKEN).outcomes() == ["duplicate"]
        assert ours.stop(grace_seconds=40).code == 0
        run(IMAGE, "-c", _MAKE_LATER, options=[*options, "--entrypoint", "/opt/receiver/bin/python3"])
        refused = ours.run("migrate", check=False)
        assert (refused.returncode, "The tables are of version 9999, made by a later version" in refused.stderr) == (2, True)
    finally:
        ours.remove()
        engine("volume", "rm", "--force", VOLUME)
