"""The examples in `config/`: their programs accept them, and their figures fit together."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from configparser import RawConfigParser
from pathlib import Path

import pytest
from starlette.applications import Starlette

from docs._settings_file import EXAMPLES, FILE, TABLES, make_settings_file
from receiver.processes.stopping import STOP_SECONDS
from receiver.settings import Settings, load
from receiver.settings.loading import NEVER_IN_FILE
from receiver.testkit.ship24 import TIMEOUT_SECONDS
from receiver.web.server import make_server
from tests.conftest import lacking
from tests.harness.network import wired
from tests.harness.nginx import EXAMPLE, Nginx, find_nginx
from tests.harness.service import ROOT
from tests.harness.table import each_row

UNITS = ("receiver.service", "receiver-relay.service")
DEFAULTS = load({}, Path("/nonexistent"))
PROGRAM = "/opt/receiver/.venv/bin/receiver"

# Settings


def test_the_settings_file_is_made_from_the_settings() -> None:
    assert FILE.read_text(encoding="utf-8") == make_settings_file(), "run `make settings-file`"


def test_each_setting_in_the_file_can_be_switched_on_and_shows_its_default(tmp_path: Path) -> None:
    text = re.sub(r"^#(?! )", "", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("/usr/local/bin/tell", "sh")
    (tmp_path / "receiver.toml").write_text(text, encoding="utf-8")
    secrets = {"RECEIVER_SHIP24_TOKENS": "old:a-token-of-these-tests", "RECEIVER_CONFIG": str(tmp_path / "receiver.toml")}
    loaded = load(secrets, Path("/nonexistent"))
    differing = {name for name in Settings.model_fields if getattr(loaded, name) != getattr(DEFAULTS, name)}
    assert differing == {"ship24_tokens", *EXAMPLES, *TABLES}
    assert set(tomllib.loads(text)) == set(Settings.model_fields) - NEVER_IN_FILE


# nginx


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    """nginx on loopback with the example, not started."""
    if find_nginx() is None:
        lacking("nginx is not installed (Debian package: nginx)")
    with wired(real=False) as wire:
        yield Nginx(tmp_path / "nginx", wire.plug_in("front", "10.0.0.1"), ["127.0.0.1:8080"])


def directive(name: str) -> str:
    """Return the value that the example gives a directive of nginx the first time."""
    found = re.search(rf"^ *{name} +([^;]+);", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, name
    return found[1]


def seconds(name: str) -> float:
    return float(directive(name).removesuffix("s"))


def test_nginx_takes_the_example_without_a_warning(nginx: Nginx) -> None:
    *said, verdict = nginx.check().strip().splitlines()
    assert "test is successful" in verdict
    assert [line for line in said if "syntax is ok" not in line] == []


def test_nginx_is_the_first_to_close_an_idle_connection_to_a_receiver() -> None:
    service = make_server(Starlette(), DEFAULTS, STOP_SECONDS).config
    assert seconds("keepalive_timeout") < service.timeout_keep_alive


def test_a_sender_is_answered_in_time_though_the_first_receiver_says_nothing() -> None:
    longest_try = seconds("proxy_connect_timeout") + seconds("proxy_read_timeout")
    assert seconds("proxy_read_timeout") < seconds("proxy_next_upstream_timeout"), "there is a second try"
    assert seconds("proxy_next_upstream_timeout") + longest_try < TIMEOUT_SECONDS
    assert settings_of("receiver.service").commit_timeout_seconds < seconds("proxy_read_timeout"), "a 503 of ours comes first"


def test_what_is_too_large_for_a_receiver_still_gets_to_it() -> None:
    size = directive("client_max_body_size")
    assert size.endswith("m")
    assert DEFAULTS.max_body_bytes < int(size[:-1]) * 2**20 < 2 * DEFAULTS.max_body_bytes


# systemd


def unit(name: str) -> RawConfigParser:
    parser = RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys of units are with case
    parser.read(ROOT / "config" / name, encoding="utf-8")
    return parser


def settings_of(name: str) -> Settings:
    """Read what a unit sets as the service does."""
    lines = (ROOT / "config" / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.removeprefix("Environment=").partition("=") for line in lines if line.startswith("Environment=")]
    return load({variable: value for variable, _, value in pairs if variable != "RECEIVER_CONFIG"}, Path("/nonexistent"))


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_the_unit_without_a_warning(name: str, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        lacking("systemd is not installed (Debian package: systemd)")
    text = (ROOT / "config" / name).read_text(encoding="utf-8")
    assert f"ExecStart={PROGRAM} " in text
    (tmp_path / name).write_text(text.replace(PROGRAM, shutil.which("true") or "/bin/true"), encoding="utf-8")
    done = subprocess.run([program, "verify", tmp_path / name], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if name in line]) == (0, [])


@each_row("name", UNITS)
def test_a_unit_starts_again_whatever_ended_it_and_leaves_time_to_stop(name: str) -> None:
    found = unit(name)
    service = found["Service"]
    assert (service["Restart"], found["Unit"]["StartLimitIntervalSec"]) == ("always", "0")
    assert float(service["TimeoutStopSec"]) >= STOP_SECONDS
    assert "TOKEN" not in str(dict(service)), "secrets stand in a file that others cannot read"


def test_both_units_shut_themselves_in_alike() -> None:
    own = {"ExecStart", "TimeoutStopSec", "KillMode", "OOMPolicy", "Environment"}
    first, second = ({key: value for key, value in unit(name)["Service"].items() if key not in own} for name in UNITS)
    assert first == second
    assert {"NoNewPrivileges", "ProtectSystem", "CapabilityBoundingSet", "SystemCallFilter"} <= set(first)


def test_the_unit_trusts_the_address_of_nginx_and_listens_where_nginx_calls() -> None:
    settings = settings_of("receiver.service")
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.10/32"]
    assert re.findall(r"server 10\.0\.0\.\d+:(\d+) ", EXAMPLE.read_text(encoding="utf-8")) == [str(settings.port)] * 3


# All


@each_row("name", ["nginx.conf", "postgresql.conf", "prometheus-rules.yaml", *UNITS])
def test_every_example_says_where_it_goes(name: str) -> None:
    assert re.match(r"#.*(/etc/\S+|conf\.d)", " ".join((ROOT / "config" / name).read_text(encoding="utf-8").splitlines()[:3]))


def test_every_setting_for_postgresql_has_a_reason() -> None:
    paragraphs = (ROOT / "config" / "postgresql.conf").read_text(encoding="utf-8").strip().split("\n\n")
    assert len(paragraphs) > 10
    assert [paragraph for paragraph in paragraphs if not paragraph.startswith("# ")] == []
