"""The examples of the README, the tutorial and the guides do what the pages say."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from receiver.cli import commands
from receiver.settings import Settings, load
from tests.conftest import StartService
from tests.harness.command import run_command
from tests.harness.rows import table_rows
from tests.harness.service import ROOT, Service, environment, wait_until
from tests.harness.storage import make_tables

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TUTORIAL = ROOT / "docs/tutorial/first-delivery.md"
SHOWING = ["README.md", "docs/tutorial/first-delivery.md"]
MAX_README_WORDS = 1000
_VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f-]{17}"  # ids of ours: UUIDs of version 7
    r"|20[2-9]\d-\d\d-\d\d(T\d\d:\d\d:\d\d\.\d+Z| \d\d:\d\d:\d\d)"  # times of ours; a courier's has a T and no Z
)
_ASSIGNED = re.compile(r"(?:[A-Z_]+=\S+ )*")


class PageBlock(NamedTuple):
    """A fenced block of a page."""

    page: str
    language: str
    text: str


def read_blocks(path: Path) -> list[PageBlock]:
    """Return the fenced blocks of a page, in their order. Those inside lists are indented."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [
        PageBlock(str(path.relative_to(ROOT)), language, re.sub(f"^{dent}", "", text, flags=re.M))
        for dent, language, text in found
    ]


BLOCKS = [block for path in PAGES for block in read_blocks(path)]


def texts(page: str, language: str) -> list[str]:
    return [block.text for block in BLOCKS if (block.page, block.language) == (page, language)]


def printed(page: str, beginning: str) -> str:
    """Return the output on a page that begins so."""
    return next(text for text in texts(page, "text") if text.startswith(beginning))


def settle(text: str) -> str:
    """Return the text without what differs from run to run, and without blanks at line ends."""
    return "\n".join(_VARYING.sub("…", line.rstrip()) for line in text.strip().splitlines())


def posted(page: str) -> list[str]:
    """Return the files that the examples of a page send."""
    return re.findall(r"--data-binary @(\S+)", (ROOT / page).read_text(encoding="utf-8"))


@pytest.fixture
def running(service: StartService, sqlite_url: str) -> Service:
    return service(sqlite_url)


# README and tutorial


@pytest.mark.parametrize("page", SHOWING)
def test_the_first_start_prints_what_the_page_shows(page: str, tmp_path: Path) -> None:
    run = [run_command(name, cwd=tmp_path, env={}).stdout for name in ("init", "migrate")]
    assert settle("".join(run)) == settle(printed(page, "Created .env"))


@pytest.mark.parametrize("page", SHOWING)
def test_the_delivery_is_answered_as_the_page_shows_and_so_is_its_repetition(page: str, running: Service) -> None:
    body = (ROOT / posted(page)[0]).read_bytes()
    answers = texts(page, "json")
    assert len(answers) == (2 if page == SHOWING[1] else 1)
    for answer in answers:
        assert settle(running.post(body).body.decode()) == settle(answer)


@pytest.mark.parametrize("page", SHOWING)
def test_the_tracker_is_shown_as_the_page_shows_it(page: str, running: Service) -> None:
    running.post((ROOT / posted(page)[0]).read_bytes())
    shown = run_command("trackers", "show", "S24DEMO987452", cwd=running.directory, env=running.env | {"COLUMNS": "80"})
    assert settle(shown.stdout) == settle(printed(page, "tracker "))


def test_the_stale_message_is_explained_as_the_tutorial_shows(running: Service) -> None:
    page = SHOWING[1]
    for _ in range(2):
        running.post((ROOT / posted(page)[0]).read_bytes())
    message_id = re.search(r"^receiver explain (\S+)$", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE)
    assert message_id is not None
    shown = run_command("explain", message_id[1], cwd=running.directory, env=running.env | {"COLUMNS": "80"})
    assert settle(shown.stdout) == settle(printed(page, "- Message "))


def test_the_handler_of_the_tutorial_prints_the_change(service: StartService, sqlite_url: str) -> None:
    page = SHOWING[1]
    made = service(sqlite_url)
    made.stop()
    (made.directory / "shop.py").write_text(texts(page, "python")[0], encoding="utf-8")
    made.env["RECEIVER_HANDLERS"] = "shop"
    made.start()
    made.post((ROOT / posted(page)[-1]).read_bytes())
    wait_until(lambda: texts(page, "text")[-1] in made.logs(), "the handler prints the change")


def test_the_readme_is_one_that_a_visitor_finishes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= MAX_README_WORDS


# All pages


def commands_on_pages() -> list[tuple[str, str]]:
    """Return each page's command lines that run `receiver`."""
    lines = [(block.page, line) for block in BLOCKS if block.language == "sh" for line in block.text.splitlines()]
    stripped = [(page, _ASSIGNED.sub("", line, count=1)) for page, line in lines]
    quoted = [
        (str(path.relative_to(ROOT)), line)
        for path in PAGES
        for line in re.findall(r"`(receiver [^`]+)`", path.read_text("utf-8"))
    ]
    return [(page, line) for page, line in [*stripped, *quoted] if line.startswith("receiver ")]


@pytest.mark.parametrize(("page", "line"), sorted(set(commands_on_pages())))
def test_a_command_on_a_page_exists_with_its_options(page: str, line: str) -> None:
    command: click.Command = commands
    context = click.Context(commands, info_name="receiver")
    words = [word for word in shlex.split(line)[1:] if word != "…"]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command = found
    known = {name for option in command.get_params(context) for name in (*option.opts, *option.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_setting_on_a_page_exists() -> None:
    known = {name.upper() for name in Settings.model_fields} | {"CONFIG", "HOME"}
    named = {
        (path.name, name) for path in PAGES for name in re.findall(r"RECEIVER_([A-Z0-9_]*[A-Z0-9])", path.read_text("utf-8"))
    }
    assert {(page, name) for page, name in named if name.removesuffix("_FILE") not in known} == set()


def test_every_example_of_the_settings_can_be_read(tmp_path: Path) -> None:
    variables = [line.partition("=") for block in BLOCKS if block.language == "ini" for line in block.text.splitlines()]
    assert variables
    for name, _, value in variables:
        load({name: value}, tmp_path / "none")
    tables = [block.text for block in BLOCKS if block.language == "toml"]
    assert tables
    for number, text in enumerate(tables):
        file = tmp_path / f"{number}.toml"
        file.write_text(text, encoding="utf-8")
        assert set(tomllib.loads(text)) <= set(Settings.model_fields)
        load({"RECEIVER_CONFIG": str(file)}, tmp_path / "none")


def test_the_field_paths_of_the_shiipp_guide_find_the_tracking_number(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/receiver.toml").write_text(texts("docs/guides/shiipp.md", "toml")[0], encoding="utf-8")
    (tmp_path / "body.json").write_text('{"parcel": {"ref": "TN-FROM-PAGE"}}', encoding="utf-8")
    line = next(text for text in texts("docs/guides/shiipp.md", "sh") if "--sample" in text)
    shown = run_command(*shlex.split(line)[1:], cwd=tmp_path, env={})
    assert (shown.returncode, "TN-FROM-PAGE" in shown.stdout) == (0, True)


def test_the_way_from_the_logs_of_shiipp_to_an_import_is_as_the_page_says(tmp_path: Path) -> None:
    page = "docs/guides/troubleshooting.md"
    env = environment(f"sqlite:///{tmp_path}/receiver.db")
    make_tables(env["RECEIVER_DATABASE_URL"])
    for name, text in zip(("package.json", "status.json"), texts(page, "json"), strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    lines = [line for text in texts(page, "sh") for line in text.splitlines() if "import" in line or "trackers show 1Z" in line]
    shown = [run_command(*shlex.split(line)[1:], cwd=tmp_path, env=env) for line in lines]
    assert [done.returncode for done in shown] == [0] * 6, [done.stderr for done in shown]
    dry_package, dry_status, package, status, tracker, messages = (done.stdout for done in shown)
    assert all("applied" in text for text in (dry_package, dry_status, package, status))
    assert "1Z999AA10123456784" in tracker
    assert messages.count("applied") == 2
    (manifest,) = table_rows(env["RECEIVER_DATABASE_URL"], "events", "occurrence", status="shipped")
    assert manifest["occurrence"].startswith("2026-01-31T14:03")


def test_every_python_example_is_python() -> None:
    examples = [block for block in BLOCKS if block.language == "python"]
    assert examples
    for block in examples:
        compile(block.text, block.page, "exec")


def test_the_pictures_of_the_readme_exist() -> None:
    named = re.findall(r'(?:src|srcset)="([^"]+)"', (ROOT / "README.md").read_text(encoding="utf-8"))
    assert (len(named), [name for name in named if not (ROOT / name).is_file()]) == (2, [])


def test_every_file_that_a_page_names_exists() -> None:
    pattern = re.compile(r"`((?:tests|receiver|config|docs)/[\w/.-]*\w\.\w+)`")
    named = {
        (path.name, name) for path in [*PAGES, ROOT / "CONTRIBUTING.md"] for name in pattern.findall(path.read_text("utf-8"))
    }
    missing = {(page, name) for page, name in named if "NAME" not in name and not (ROOT / name).exists()}
    assert (len(named) > 50, missing) == (True, set())
