"""Files that commands read: one that is not readable text is one line that names it, and exit code 2."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.command import run_command
from tests.harness.service import environment
from tests.harness.storage import make_tables

COMMANDS: dict[str, tuple[list[str], str]] = {
    "customers import": (["customers", "import", "given"], "UserCode\nÅsa\n"),
    "doctor --sample": (["doctor", "--kind", "new-package", "--sample", "given"], '{"name": "Åsa"}\n'),
    "check --token-file": (["check", "http://127.0.0.1:9", "--token-file", "given"], "tokenÅ\n"),
    "simulate --token-file": (["simulate", "http://127.0.0.1:9", "--token-file", "given"], "tokenÅ\n"),
}
"""Commands with a file, and what such a file may contain."""


def _deny(file: Path, _text: str) -> None:
    file.symlink_to(file)  # for root, too, an error on opening


WRONG: dict[str, Callable[[Path, str], object]] = {
    "missing": lambda _file, _text: None,
    "folder": lambda file, _text: file.mkdir(),
    "not openable": _deny,
    "latin-1": lambda file, text: file.write_bytes(text.encode("latin-1")),
    "utf-16 without a mark": lambda file, text: file.write_bytes(text.encode("utf-16-le")),
    "nul": lambda file, text: file.write_bytes(text.replace("s", "\0").replace("o", "\0").encode()),
}


def run_with(tmp_path: Path, command: str, make: Callable[[Path, str], object]) -> tuple[int, str, str]:
    words, text = COMMANDS[command]
    make(tmp_path / "given", text)
    done = run_command(*words, cwd=tmp_path, env=environment(f"sqlite:///{tmp_path}/receiver.db"))
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_not_readable_text_is_one_line_that_names_it_and_2(tmp_path: Path, command: str, wrong: str) -> None:
    code, out, err = run_with(tmp_path, command, WRONG[wrong])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("receiver: given"), err
    assert "expected" in err or "UTF-8" in err


@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith("customers")])
def test_utf_16_is_for_customer_lists_only(tmp_path: Path, command: str) -> None:
    code, _, err = run_with(tmp_path, command, lambda file, text: file.write_bytes(text.encode("utf-16")))
    assert (code, err) == (2, "receiver: given: expected UTF-8, not UTF-16. Save the file as UTF-8.\n")


def test_a_customer_list_in_utf_16_is_read_and_one_wrong_row_is_the_answer_no(tmp_path: Path) -> None:
    make_tables(f"sqlite:///{tmp_path}/receiver.db")
    code, out, _ = run_with(tmp_path, "customers import", lambda file, text: file.write_bytes(text.encode("utf-16")))
    assert (code, out.splitlines()[-1].partition(",")[0]) == (0, "1 added")
    code, out, err = run_with(tmp_path, "customers import", lambda file, text: file.write_text(f"{text}{text.split()[1]}\n"))
    assert (code, out) == (1, "")
    assert "Line 3: customer code ÅSA is already on line 2" in err


def test_a_sample_that_is_not_json_is_one_line_that_names_it_and_2(tmp_path: Path) -> None:
    code, _, err = run_with(tmp_path, "doctor --sample", lambda file, _text: file.write_text("<xml/>"))
    assert (code, err.count("\n"), err.startswith("receiver: given: The body must be JSON")) == (2, 1, True)
