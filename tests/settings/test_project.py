"""The project folder: where the settings are looked for, and from where their relative paths count."""

import os
from pathlib import Path

import pytest

from receiver.errors import ConfigurationError
from receiver.project.folder import find_databases_below
from receiver.settings import load
from receiver.settings.fingerprints import find_differing, make_fingerprints
from tests.harness.table import each_row

OURS = "RECEIVER_PORT=9001\n"
DEFAULT = "sqlite:///data/receiver.db"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a project in `shop`, and the current folder two levels below it."""
    (tmp_path / "shop/deep/deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "shop/deep/deeper")
    return tmp_path / "shop"


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_without_a_project_paths_count_from_the_current_folder() -> None:
    settings = load({})
    assert (settings.project, settings.database_url) == ((Path(), None), DEFAULT)
    assert settings.is_configured is False
    assert load({"RECEIVER_PORT": "1"}).is_configured is True


@each_row("sign", [".env", "config/receiver.toml", "data/receiver.db"])
def test_the_nearest_folder_upwards_with_a_file_of_ours_is_the_project(project: Path, sign: str) -> None:
    for name in (".env", "config/receiver.toml", "data/receiver.db"):
        (project / name).unlink(missing_ok=True)
    write(project / sign, OURS if sign == ".env" else "")
    settings = load({})
    assert settings.project == (project, sign)
    assert settings.database_url == f"sqlite:///{project}/data/receiver.db"
    assert settings.port == (9001 if sign == ".env" else 8080)
    assert settings.is_configured is True


def test_a_project_in_the_current_folder_comes_first_and_keeps_its_paths_as_written(project: Path) -> None:
    write(project / ".env", OURS)
    write(Path(".env"), "RECEIVER_PORT=9002\n")
    settings = load({})
    assert (settings.port, settings.project.folder, settings.database_url) == (9002, Path(), DEFAULT)


def test_the_files_of_other_programs_and_of_other_users_make_no_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project / ".env", "PORT=5000\nDEBUG=1\n")
    assert load({}).port == 8080
    write(project / ".env", OURS)
    found = Path.stat
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(Path, "stat", lambda path, **how: _of_another_user(found(path, **how), path.name == ".env"))
    assert load({}).port == 8080


def _of_another_user(found: os.stat_result, is_foreign: bool) -> os.stat_result:
    values = list(found)
    values[4] = 4712 if is_foreign else 4711
    return os.stat_result(values)


def test_receiver_home_names_the_project(project: Path, tmp_path: Path) -> None:
    write(project / ".env", OURS)
    write(tmp_path / "other/.env", "RECEIVER_PORT=9003\nRECEIVER_OPS_TOKENS_FILE=secret\nRECEIVER_CONFIG=mine.toml\n")
    write(tmp_path / "other/secret", "the-token-of-the-other-one")
    write(tmp_path / "other/mine.toml", 'database_url = "sqlite:///here.db"')
    settings = load({"RECEIVER_HOME": "../../../other"})
    assert (settings.port, settings.ops_tokens[0].reveal()) == (9003, "the-token-of-the-other-one")
    assert Path(settings.database_url.removeprefix("sqlite:///")).resolve() == tmp_path / "other/here.db"


def test_a_home_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="RECEIVER_HOME: expected a folder"):
        load({"RECEIVER_HOME": str(tmp_path / "nowhere")})
    write(Path(".env"), f"RECEIVER_HOME={tmp_path}\n")
    with pytest.raises(ConfigurationError, match="set it in the environment"):
        load({})


@each_row("url", ["sqlite:////var/lib/receiver.db", "postgresql://user@host/name", "postgresql:///name"])
def test_absolute_paths_and_servers_stay_as_they_are(project: Path, url: str) -> None:
    write(project / ".env", OURS)
    assert load({"RECEIVER_DATABASE_URL": url}).database_url == url


def test_databases_in_the_folders_below_are_found(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)
    write(project / "data/receiver.db")
    assert find_databases_below() == [Path("shop/data/receiver.db")]


SETTINGS = {
    "RECEIVER_PORT": "9001",
    "RECEIVER_OPS_TOKENS": "anna:the-ops-token-of-anna",
    "RECEIVER_SHIP24_TOKENS": "the-webhook-token",
    "RECEIVER_TRUSTED_PROXIES": "10.0.0.0/8",
}


@each_row(
    ("changed", "differing"),
    [
        ({}, []),
        ({"RECEIVER_PORT": "9002"}, ["port"]),
        ({"RECEIVER_OPS_TOKENS": "anna:another-ops-token-of-anna"}, ["ops_tokens"]),
        ({"RECEIVER_OPS_TOKENS": "ben:the-ops-token-of-anna"}, ["ops_tokens"]),
        ({"RECEIVER_TRUSTED_PROXIES": "10.0.0.0/9", "RECEIVER_MAX_BODY_BYTES": "2048"}, ["trusted_proxies", "max_body_bytes"]),
        ({"RECEIVER_DATABASE_URL": "postgresql://host/name"}, []),
    ],
)
def test_fingerprints_tell_which_settings_differ(changed: dict[str, str], differing: list[str]) -> None:
    loaded = make_fingerprints(load(SETTINGS))
    assert sorted(find_differing(loaded, load(SETTINGS | changed))) == sorted(differing)
    assert find_differing({"no_longer_a_setting": "0000"}, load(SETTINGS)) == []
