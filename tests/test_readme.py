"""The README's commands print what it says they print."""

import re
from pathlib import Path

import pytest

from receiver.settings import Settings
from tests.conftest import StartService
from tests.harness.service import ROOT, Service, run_command

README = (ROOT / "README.md").read_text(encoding="utf-8")
_VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f-]{17}"  # ids of ours: UUIDs of version 7
    r"|20[2-9]\d-\d\d-\d\d(T\d\d:\d\d:\d\d\.\d+Z| \d\d:\d\d:\d\d)"  # times of ours; a courier's has a T and no Z
)


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language, in their order."""
    parts = README.split("```")
    return [part.partition("\n")[2] for part in parts[1::2] if part.partition("\n")[0] == language]


def settle(text: str) -> str:
    """Return the text with what differs from run to run, and the blanks at line ends, taken out."""
    return "\n".join(_VARYING.sub("…", line.rstrip()) for line in text.strip().splitlines())


@pytest.fixture
def running(service: StartService, sqlite_url: str) -> Service:
    return service(sqlite_url)


def test_the_grouped_example_and_its_repetition_are_answered_as_printed(running: Service) -> None:
    payload = re.search(r"--data-binary @(\S+)", README)
    assert payload is not None
    body = (ROOT / payload[1]).read_bytes()
    printed = blocks("json")
    assert len(printed) == 2
    for answer in printed:
        assert settle(running.post(body).body.decode()) == settle(answer)


def test_the_tracker_of_the_example_is_shown_as_printed(running: Service) -> None:
    running.post((ROOT / "tests/payloads/ship24/grouped.json").read_bytes())
    shown = run_command("trackers", "show", "S24DEMO987452", cwd=running.directory, env=running.env | {"COLUMNS": "80"})
    printed = next(block for block in blocks("") if block.startswith("tracker "))
    assert settle(shown.stdout) == settle(printed)


def test_the_stale_message_of_the_example_is_explained_as_printed(running: Service) -> None:
    for _ in range(2):
        running.post((ROOT / "tests/payloads/ship24/grouped.json").read_bytes())
    message_id = re.search(r"^receiver explain (\S+)$", README, re.MULTILINE)
    assert message_id is not None
    shown = run_command("explain", message_id[1], cwd=running.directory, env=running.env | {"COLUMNS": "80"})
    printed = next(block for block in blocks("") if block.startswith("- Message "))
    assert settle(shown.stdout) == settle(printed)


def test_every_file_it_names_exists() -> None:
    names = set(re.findall(r"`(tests/\w+\.py|receiver/[\w/]+\.py)`", README)) - {"receiver/sources/NAME.py", "tests/test_NAME.py"}
    assert names
    assert [name for name in sorted(names) if not Path(ROOT, name).exists()] == []


def test_its_settings_are_those_of_the_service() -> None:
    table = README.partition("## Settings")[2].partition("## Commands")[0]
    named = set(re.findall(r"`RECEIVER_(\w+)`", table))
    known = {name.upper() for name in Settings.model_fields} | {"CONFIG"}
    assert named == known
