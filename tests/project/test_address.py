"""The address for the health check: the same one that the settings give the service."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.errors import ConfigurationError
from receiver.project.address import find_address
from receiver.settings import load
from tests.harness.table import each_row

DOTENV = "RECEIVER_HOST=10.0.0.2\nRECEIVER_PORT=9002\n"
FILE = 'host = "10.0.0.3"\nport = 9003\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@each_row(
    ("variables", "dotenv", "file"),
    [
        ({}, "", ""),
        ({}, "", FILE),
        ({}, DOTENV, FILE),
        ({}, "PORT=9004\n", FILE),
        ({"RECEIVER_HOST": " 10.0.0.1 ", "RECEIVER_PORT": "9001"}, DOTENV, FILE),
        ({"PORT": "9001"}, DOTENV, FILE),
        ({"PORT": "9001", "RECEIVER_PORT": "9000"}, DOTENV, FILE),
        ({"PORT": ""}, DOTENV, FILE),
        ({"RECEIVER_PORT": "tcp://10.0.0.9:8080"}, "", FILE),
        ({"RECEIVER_CONFIG": "other.toml"}, "", FILE),
        ({"RECEIVER_HOME": "home"}, DOTENV, FILE),
        ({"DATABASE_URL": "sqlite:///here.db"}, DOTENV, ""),
    ],
)
def test_it_is_the_one_that_the_settings_give_the_service(
    folder: Path, variables: dict[str, str], dotenv: str, file: str
) -> None:
    for name in ("config", "home/config"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / ".env").write_text(dotenv, encoding="utf-8")
    (folder / "config/receiver.toml").write_text(file, encoding="utf-8")
    (folder / "other.toml").write_text("port = 9005\n", encoding="utf-8")
    (folder / "home/.env").write_text("RECEIVER_PORT=9006\n", encoding="utf-8")
    settings = load(variables)
    assert find_address(variables) == (settings.host, settings.port)


@each_row(("host", "expected"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::1", "::1"), ("192.0.2.7", "192.0.2.7")])
def test_a_service_on_every_address_is_reached_on_loopback(host: str, expected: str) -> None:
    assert find_address({"RECEIVER_HOST": host}) == (expected, 8080)


@each_row("variables", [{"RECEIVER_PORT": "http"}, {"RECEIVER_CONFIG": "nowhere.toml"}, {"RECEIVER_HOME": "nowhere"}])
def test_a_wrong_setting_is_named(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(variables))):
        find_address(variables)


def test_nothing_that_is_slow_to_import_is_imported_for_a_health_check() -> None:
    code = "import sys; from receiver.__main__ import main; import receiver.cli.healthcheck; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    slow = {"asyncio", "pydantic", "sqlalchemy", "sqlmodel", "starlette", "structlog", "urllib3", "rich", "jinja2"}
    assert slow & set(done.stdout.split()) == set()
