"""The wheel: what is in it, and that it runs without the checkout, in an empty folder of an empty environment."""

import http.client
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from receiver import __version__
from tests.harness.console_client import ConsoleClient
from tests.harness.container import PublishedPort
from tests.harness.ports import free_port
from tests.harness.service import DEADLINE_SECONDS, ROOT, wait_until

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GROUPED = (ROOT / "tests/payloads/ship24/grouped.json").read_bytes()
COMMITTED_AT = "1700000000"  # any time; the Makefile takes that of the commit


def build(folder: Path) -> Path:
    """Build the wheel as `make wheel` does."""
    env = {**os.environ, "SOURCE_DATE_EPOCH": COMMITTED_AT}
    folder.mkdir()
    subprocess.run([sys.executable, "-m", "flit_core.wheel", "--outdir", folder], cwd=ROOT, env=env, check=True)
    (wheel,) = folder.iterdir()
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("build") / "dist")


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel and our locked libraries, from which the checkout cannot be imported."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", str(wheel)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))  # its own .pth files, the checkout's too, do not count
    return python.parent


@contextmanager
def serving(programs: Path, folder: Path, env: dict[str, str]) -> Iterator[int]:
    """Run `receiver serve` until the block ends. Give its port."""
    port = free_port()
    served = [str(programs / "receiver"), "serve"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(served, cwd=folder, env={**env, "RECEIVER_PORT": str(port)}, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or answers(port), "the service serves")
        yield port
    finally:
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0, (folder / "log").read_text()


def answers(port: int) -> bool:
    try:
        return ask(port, "GET", "/readyz")[0] == 200
    except OSError:
        return False


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()


def test_the_wheel_has_the_package_with_all_its_files_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"{PROJECT['name'].replace('-', '_')}-{__version__}-py3-none-any.whl"
    listed = subprocess.run(["git", "ls-files", "receiver"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    packed = zipfile.ZipFile(wheel).namelist()
    assert {name for name in packed if ".dist-info/" not in name} == set(listed)
    assert {Path(name).suffix for name in listed} > {".py", ".html", ".css", ".js"}


def test_the_wheel_has_the_same_bytes_each_time(wheel: Path, tmp_path: Path) -> None:
    assert build(tmp_path / "dist").read_bytes() == wheel.read_bytes()


def test_the_wheel_runs_in_an_empty_folder_without_the_checkout(programs: Path, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONSAFEPATH": "1"}
    (folder := tmp_path / "empty").mkdir()

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    found = "import receiver, importlib.metadata as m; print(receiver.__file__, m.version(%r))" % PROJECT["name"]  # noqa: UP031
    place, version = run(str(programs / "python"), "-P", "-c", found).split()
    assert Path(place).is_relative_to(programs.parent)
    assert version == __version__
    receiver = str(programs / "receiver")
    assert run(receiver, "--version").split()[-1] == __version__
    run(receiver, "init")
    assert "schema version" in run(receiver, "migrate")
    tokens = dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines() if "_TOKENS=" in line)
    with serving(programs, folder, env) as port:
        bearer = f"Bearer {tokens['RECEIVER_SHIP24_TOKENS']}"
        status, answer = ask(port, "POST", "/webhooks/ship24", GROUPED, Authorization=bearer)
        assert (status, answer.count(b'"applied"')) == (200, 3)
        status, page = ask(port, "GET", "/ops/sign-in")
        assert status == 200
        parts = set(re.findall(rb'(?:href|src)="(/ops/[^"]*\.(?:css|js|svg)[^"]*)"', page))
        assert {Path(part.decode().partition("?")[0]).suffix for part in parts} >= {".css", ".js"}
        assert {part: ask(port, "GET", part.decode())[0] for part in parts} == dict.fromkeys(parts, 200)
        assert "S24DEMO987452" in run(receiver, "trackers", "list")
        console = ConsoleClient(PublishedPort(port))
        assert console.get("/ops/trackers").status == 303, "not signed in"
        assert console.sign_in(tokens["RECEIVER_OPS_TOKENS"]).status == 303
        assert b"S24DEMO987452" in console.get("/ops/trackers").body
