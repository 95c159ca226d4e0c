"""What a command imports, which is most of the time that it takes to start; shell completion, which starts it for each Tab."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from receiver.cli._commands import COMMANDS
from tests.conftest import lacking
from tests.harness.command import run_command
from tests.harness.service import environment
from tests.harness.storage import make_tables

_RUN = """
import json, sys
from receiver.cli import commands
for words in json.loads(sys.argv[1]):
    commands.main(words, "receiver", standalone_mode=False)
print(*sorted(sys.modules), file=sys.stderr)
"""
SERVICE = {
    "starlette",
    "uvicorn",
    "jinja2",
    "alembic",
    "aiohttp",
    "psycopg",
    "structlog",
    "urllib3",
    "receiver.web",
    "receiver.writer",
}
ELSEWHERE = {"rich", "sqlalchemy.dialects.postgresql"}  # on a terminal, on PostgreSQL
SLOW = SERVICE | ELSEWHERE | {"sqlalchemy", "sqlmodel", "pydantic", "orjson", "receiver.settings", "receiver.storage"}
READING = (
    ["trackers", "list"],
    ["deliveries", "list"],
    ["messages", "list"],
    ["changes", "list"],
    ["audit", "list"],
    ["downtime", "list"],
    ["quarantine", "list"],
    ["alarms", "list"],
    ["targets", "list"],
    ["targets", "dead"],
    ["customers", "lists"],
    ["stats"],
)


def modules_of(cwd: Path, env: dict[str, str], *commands: Sequence[str]) -> set[str]:
    """Return what is imported after some commands in a new process."""
    words = str(list(map(list, commands))).replace("'", '"')
    done = subprocess.run([sys.executable, "-c", _RUN, words], cwd=cwd, env=env, capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


def test_help_and_version_import_no_command(tmp_path: Path) -> None:
    loaded = modules_of(tmp_path, environment("sqlite:///none.db"), ["--help"], ["--version"])
    assert loaded & SLOW == set()
    assert {f"receiver.cli.{entry.module}" for entry in COMMANDS} & loaded == set()


def test_commands_that_read_in_a_pipe_from_sqlite_import_nothing_that_only_others_need(tmp_path: Path) -> None:
    make_tables(url := f"sqlite:///{tmp_path}/receiver.db")
    assert modules_of(tmp_path, environment(url), *READING) & (SERVICE | ELSEWHERE) == set()


def test_a_command_is_completed_without_its_import_and_without_a_database(tmp_path: Path) -> None:
    env = environment("nonsense://") | {"COMP_WORDS": "receiver de", "COMP_CWORD": "1", "_RECEIVER_COMPLETE": "zsh_complete"}
    code = "import sys; from receiver.cli import _run; _run(); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert "deliveries" in done.stdout.splitlines()
    assert set(done.stderr.split()) & SLOW == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_the_shell_takes(shell: str, tmp_path: Path) -> None:
    printed = run_command("completion", shell, cwd=tmp_path, env=environment("sqlite:///none.db"))
    assert (printed.returncode, printed.stderr) == (0, "")
    assert "_RECEIVER_COMPLETE=" + shell in printed.stdout
    if shutil.which(shell):
        (tmp_path / "script").write_text(printed.stdout)
        checked = subprocess.run([shell, "-n", tmp_path / "script"], capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_fish_completes_commands_options_and_choices(tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        lacking("fish is not installed (Debian package: fish)")
    script = run_command("completion", "fish", cwd=tmp_path, env=environment("sqlite:///none.db")).stdout
    (tmp_path / "script").write_text(script)
    typed = ("receiver trac", "receiver trackers ", "receiver deliveries list --orig", "receiver deliveries list --origin im")
    asked = "source script; " + "; ".join(f"complete -C '{words}'" for words in typed)
    env = environment("sqlite:///none.db") | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(["fish", "--no-config", "-c", asked], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    offered = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert offered == ["trackers", "list", "show", "--origin", "import"]


def test_bash_completes_commands_options_and_choices(tmp_path: Path) -> None:
    script = run_command("completion", "bash", cwd=tmp_path, env=environment("sqlite:///none.db")).stdout
    (tmp_path / "script").write_text(script)
    asked = """
    . ./script
    for words in "receiver trac" "receiver trackers " "receiver deliveries list --orig" "receiver deliveries list --origin im"; do
        IFS=' ' read -ra COMP_WORDS <<< "$words"; [[ $words == *' ' ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); _receiver_completion receiver; echo "${COMPREPLY[@]}"
    done
    """
    env = environment("sqlite:///none.db") | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["trackers", "list show", "--origin", "import"]
    assert not (tmp_path / "none.db").exists()
