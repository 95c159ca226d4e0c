"""The examples in `config/`: their programs accept them, and their figures fit together."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from click import Context
from starlette.applications import Starlette

from docs._settings_file import EXAMPLES, FILE, TABLES, make_settings_file
from receiver.cli import commands
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


# Containers


COMPOSE = ("compose.yaml", "compose.postgresql.yaml")
SECRETS = {"RECEIVER_SHIP24_TOKENS": "a-token-of-these-tests"}


def read_services(name: str) -> dict[str, Any]:
    services = yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8"))["services"]
    assert isinstance(services, dict)
    return services


def ours(name: str) -> dict[str, Any]:
    """Return the services of a compose file that run our image."""
    return {key: service for key, service in read_services(name).items() if "RECEIVER_IMAGE" in service["image"]}


def read_variables(environment: Mapping[str, str]) -> Settings:
    """Read variables of a container as the service does; what is a secret there gets a value."""
    filled = {name: re.sub(r"\$(\{[^}]*\}|\([^)]*\))", "a-password", str(value)) for name, value in environment.items()}
    return load(SECRETS | filled, Path("/nonexistent"))


@each_row("name", COMPOSE)
def test_a_container_of_a_compose_file_is_confined_and_has_time_to_stop(name: str) -> None:
    for service in ours(name).values():
        assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges"])
        sources = [volume.partition(":")[0] for volume in service["volumes"]]
        assert [path for path in sources if path.startswith(".") and not (ROOT / "config" / path).is_file()] == []
        settings = read_variables(service["environment"])
        assert settings.trusted_proxies
    lasting = [service for service in ours(name).values() if service.get("command") != "migrate"]
    assert lasting
    for service in lasting:
        assert service["restart"] == "unless-stopped"
        assert int(service["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
        assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert (service.get("command") == "relay") == (service.get("healthcheck") == {"disable": True})


def test_the_proxy_of_the_compose_file_knows_the_receivers_and_is_trusted_by_them(tmp_path: Path) -> None:
    services = read_services("compose.postgresql.yaml")
    addresses = [services[name]["networks"]["front"]["ipv4_address"] for name in ("receiver-1", "receiver-2", "proxy")]
    assert services["receiver-1"]["environment"]["RECEIVER_TRUSTED_PROXIES"] == addresses[2]
    shell, option, script = services["proxy"]["command"]
    made = tmp_path / "receiver.conf"
    script = script.partition("&&")[0]
    for path, here in (("/config/nginx.conf", EXAMPLE), ("/etc/nginx/conf.d/default.conf", made)):
        script = script.replace(path, str(here))
    subprocess.run([shell, option, script], check=True)
    text = made.read_text(encoding="utf-8")
    assert re.findall(r"^ *server (\S+):8080 ", text, re.MULTILINE) == addresses[:2]
    assert re.findall(r"allow (\S+);", text) == ["172.30.81.1"]
    assert "10.0.0." not in re.sub("#.*", "", text)


def read_pods() -> dict[str, Any]:
    """Return the pods of the manifests for Kubernetes, by the name of what makes them."""
    manifests = yaml.safe_load_all((ROOT / "config/kubernetes.yaml").read_text(encoding="utf-8"))
    return {found["metadata"]["name"]: found["spec"]["template"]["spec"] for found in manifests if "template" in found["spec"]}


def test_a_pod_is_confined_and_has_time_to_stop() -> None:
    for name, pod in read_pods().items():
        assert (pod["enableServiceLinks"], pod["securityContext"]["runAsNonRoot"]) == (False, True)
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            if name != "receiver-database":
                assert container["securityContext"]["readOnlyRootFilesystem"]
                assert container["args"][0] in commands.list_commands(Context(commands))
                variables = {each["name"]: each["value"] for each in container["env"] if "value" in each}
                assert read_variables(variables).database_url.endswith("@receiver-database/receiver")
        pauses = [each["lifecycle"]["preStop"]["sleep"]["seconds"] for each in pod["containers"] if "lifecycle" in each]
        assert pod["terminationGracePeriodSeconds"] > sum(pauses) + STOP_SECONDS


def test_probes_ask_for_what_their_failure_does() -> None:
    """A failing liveness probe ends the pod, which mends no database; a failing readiness probe sends requests elsewhere."""
    (container,) = read_pods()["receiver"]["containers"]
    paths = {kind: container[kind]["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


# All


@each_row("name", ["nginx.conf", "postgresql.conf", "prometheus-rules.yaml", *UNITS])
def test_every_example_says_where_it_goes(name: str) -> None:
    assert re.match(r"#.*(/etc/\S+|conf\.d)", " ".join((ROOT / "config" / name).read_text(encoding="utf-8").splitlines()[:3]))


def test_every_setting_for_postgresql_has_a_reason() -> None:
    paragraphs = (ROOT / "config" / "postgresql.conf").read_text(encoding="utf-8").strip().split("\n\n")
    assert len(paragraphs) > 10
    assert [paragraph for paragraph in paragraphs if not paragraph.startswith("# ")] == []
