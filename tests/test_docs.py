"""The documentation is built strictly, and its reference pages say what the code says."""

import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import click
import pytest

from receiver import errors
from receiver.cli import commands
from receiver.domain import alarms, verdicts
from receiver.domain.verdicts import OUTCOMES, QUARANTINE_REASONS, Verdict
from receiver.settings import Settings
from tests.conftest import StartService
from tests.harness.service import ROOT, Service

OPS = [("authorization", "Bearer ops-token-of-these-tests")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    site = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT,
        env={"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return site


def read(site: Path, page: str) -> str:
    """Return the text of a built page without tags."""
    return unescape(re.sub(r"<[^>]+>", "", (site / f"{page}.html").read_text(encoding="utf-8")))


def words(text: str) -> set[str]:
    return set(re.findall(r"[\w/{}.-]+", text))


def test_every_setting_is_on_its_page_with_its_meaning(site: Path) -> None:
    shown = read(site, "reference/settings")
    fields = Settings.model_fields
    assert {name for name in fields if f"RECEIVER_{name.upper()}" not in words(shown)} == set()
    assert [name for name, field in fields.items() if not field.description] == []


def leaves(command: click.Command, path: tuple[str, ...] = ("receiver",)) -> list[str]:
    if not isinstance(command, click.Group):
        return [" ".join(path)]
    context = click.Context(command)
    children = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [leaf for name, child in children if child is not None for leaf in leaves(child, (*path, name))]


def test_every_command_is_on_its_page_with_its_help(site: Path) -> None:
    shown = read(site, "reference/commands")
    assert [command for command in leaves(commands) if f"Usage: {command} " not in shown] == []


def test_every_path_of_the_api_and_every_metric_that_the_service_has_is_on_its_page(
    site: Path, service: StartService, sqlite_url: str
) -> None:
    running: Service = service(sqlite_url, ops_tokens="docs:ops-token-of-these-tests")
    document = running.call("GET", "/ops/api/openapi.json", headers=OPS).json()
    asked = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    shown = read(site, "reference/api")
    assert {operation for operation in asked if operation not in shown} == set()
    scraped = running.call("GET", "/metrics", headers=OPS).body.decode()
    names = set(re.findall(r"^# TYPE (\S+) ", scraped, re.MULTILINE))
    names = {name for name in names if not name.endswith("_created")}
    assert len(names) > 20
    assert names - words(read(site, "reference/metrics")) == set()


def test_every_alarm_is_described_and_has_an_example(site: Path) -> None:
    page = (ROOT / "docs/reference/alarms.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert set(described) == set(alarms.ADVICE)
    shown = (site / "reference/alarms.html").read_text(encoding="utf-8")
    assert sorted(re.findall(r"<td><code>([a-z]+)</code></td>", shown)) == sorted([*described, *described])


def test_every_outcome_reason_and_error_code_is_on_its_page(site: Path) -> None:
    shown = words(read(site, "reference/verdicts"))
    assert (set(OUTCOMES) | reasons()) - shown == set()
    kinds = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.ReceiverError)]
    assert {cls.code for cls in kinds} - shown == set()


def reasons() -> set[str]:
    """Return the reasons of quarantine and of all other verdicts."""
    given = {verdict.reason for verdict in vars(verdicts).values() if isinstance(verdict, Verdict) and verdict.reason is not None}
    return given | set(QUARANTINE_REASONS)


def test_the_drawing_and_the_pages_name_modules_that_exist() -> None:
    drawn = (ROOT / "docs/explanation/architecture.svg").read_text(encoding="utf-8")
    pages = [ROOT / f"docs/{name}.md" for name in ("explanation/architecture", "develop/layout")]
    rooms = "|".join(path.name for path in (ROOT / "receiver").iterdir() if path.is_dir())
    pattern = re.compile(rf"\b((?:{rooms})/[a-z_/]+[a-z])\b")
    named = set(pattern.findall(drawn)) | {name for page in pages for name in pattern.findall(page.read_text(encoding="utf-8"))}
    missing = [name for name in named if not (ROOT / f"receiver/{name}.py").exists() and not (ROOT / "receiver" / name).is_dir()]
    assert (len(named) > 20, missing) == (True, [])


def test_nothing_on_the_pages_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = re.compile(
        r'<(?:script|img|source|iframe)[^>]+src="(https?:[^"]+)"|<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="(https?:[^"]+)"'
    )
    assert [
        (page.name, found) for page in site.rglob("*.html") for found in loaded.findall(page.read_text(encoding="utf-8"))
    ] == []
