"""`receiver deliveries import`, as an operator runs it: here or through the service, whole files, and files of anything."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.rows import count_rows, table_rows
from tests.harness.service import environment
from tests.harness.storage import make_tables
from tests.harness.table import each_row

OPS = "the-ops-token-of-these-tests"
LIMIT = 20_000


class Folder:
    """A folder to run `deliveries import` in, on a database that may have a service."""

    def __init__(self, path: Path, url: str, **settings: str) -> None:
        self.path, self.url = path, url
        self.env = {**environment(url, **settings), "COLUMNS": "120"}

    def run(self, content: bytes, *arguments: str, code: int = 0) -> str:
        """Import a file of this content to its end; return all that was printed."""
        file = self.path / "bodies"
        file.write_bytes(content)
        wanted = arguments or ("--source", "ship24")
        done = run_command("deliveries", "import", str(file), *wanted, cwd=self.path, env=self.env)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def count(self, table: str) -> int:
        return count_rows(self.url, table)


@pytest.fixture
def alone(sqlite_url: str, tmp_path: Path) -> Folder:
    """A database without a service."""
    make_tables(sqlite_url)
    return Folder(tmp_path, sqlite_url, max_body_bytes=str(LIMIT))


def single(number: int) -> bytes:
    return ship24.single(f"m{number}", tracker_id=f"t{number}")


LINES = b"\n".join([single(1), b"{", single(2), b'{"trackings": 1}', b"x" * (LIMIT + 1), single(3)])


def test_a_bad_body_is_reported_by_its_number_and_the_others_go_on(alone: Folder) -> None:
    said = alone.run(LINES, code=1)
    assert "body 2: The body must be JSON" in said
    assert "body 4: Expected" in said
    assert f"body 5: Expected a body of at most {LIMIT} bytes" in said
    assert "Imported 3 messages in 3 deliveries: 3 applied." in said
    assert "3 bodies could not be imported." in said
    assert "3 messages in 3 deliveries: 3 duplicate." in alone.run(LINES, code=1)
    assert alone.count("deliveries") == alone.count("audit") == 6


def test_what_is_printed_is_the_same_here_and_through_the_service(alone: Folder, service: StartService, tmp_path: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    running = service(f"sqlite:///{folder}/receiver.db", ops_tokens=f"anna:{OPS}", max_body_bytes=str(LIMIT))
    served = Folder(folder, running.database_url, ops_tokens=f"anna:{OPS}", port=str(running.port), max_body_bytes=str(LIMIT))
    for arguments, code in ((("--dry-run",), 1), ((), 1), ((), 1)):
        said = alone.run(LINES, "--source", "ship24", *arguments, code=code)
        assert said == served.run(LINES, "--source", "ship24", *arguments, code=code)
    assert {row["actor"] for row in table_rows(served.url, "audit", "actor")} == {"anna"}


def test_a_dry_run_shows_what_would_move_and_changes_nothing(alone: Folder) -> None:
    said = alone.run(single(1), "--source", "ship24", "--dry-run")
    assert "Trackers that would move" in said
    assert "Dry run: 1 message in 1 delivery: 1 applied. Nothing was imported." in said
    assert alone.count("deliveries") == alone.count("trackers") == alone.count("audit") == 0


def test_each_answer_is_a_line_of_json(alone: Folder) -> None:
    answers: list[Any] = [
        json.loads(line)
        for line in alone.run(b"[" + single(1) + b", 1]", "--source", "ship24", "--json", code=1).splitlines()
        if line.startswith("{")
    ]
    assert (answers[0]["number"], answers[0]["applied"], answers[0]["messages"][0]["message_id"]) == (1, 1, "m1")
    assert answers[1]["number"] == 2
    assert "error" in answers[1]


def test_a_status_of_shiipp_without_a_time_is_placed_by_the_time_when_it_was_sent(alone: Folder) -> None:
    statuses = [json.dumps({"manifest_number": "M1", "status": status}).encode() for status in ("shipped", "ready")]
    kind = ("--source", "shiipp", "--kind", "manifest-status")
    assert "1 applied" in alone.run(statuses[0], *kind, "--at", "1h")
    assert "1 stale" in alone.run(statuses[1], *kind, "--at", "2h")


@each_row(
    "content, arguments, code, words",
    [
        (b"", ["--source", "ship24"], 1, "is empty. Expected a body in JSON."),
        (b"\xff\xfe{\x00}\x00", ["--source", "ship24"], 1, "body 1: The body is not valid UTF-8."),
        (b'{"trackings": ["\x00"]}', ["--source", "ship24"], 1, "body 1: The body must be JSON"),
        (b"[" * 15_000, ["--source", "shiipp", "--kind", "new-package"], 1, "body 1: The body must be JSON"),
        (b"{}", ["--source", "shiipp"], 2, "Add --kind new-package or --kind manifest-status"),
        (b"{}", ["--source", "ship24", "--kind", "new-package"], 2, "--kind is only for shiipp"),
        (b"{}", ["--source", "ship24", "--at", "2999-01-01"], 2, "expected a time in the past"),
        (b"{}", [], 2, "--source"),
    ],
)
def test_what_cannot_be_imported_is_one_line_with_the_reason(
    alone: Folder, content: bytes, arguments: list[str], code: int, words: str
) -> None:
    file = alone.path / "bodies"
    file.write_bytes(content)
    done = run_command("deliveries", "import", str(file), *arguments, cwd=alone.path, env=alone.env)
    assert (done.returncode, words in done.stderr, done.stderr.count("\n")) == (code, True, 1), done.stderr
    assert alone.count("deliveries") == 0


def test_a_file_that_is_not_there_is_named(alone: Folder) -> None:
    done = run_command("deliveries", "import", "no-such-file", "--source", "ship24", cwd=alone.path, env=alone.env)
    assert (done.returncode, done.stderr) == (2, "receiver: no-such-file: No such file or directory\n")


def test_standard_input_is_imported(alone: Folder) -> None:
    done = run_command("deliveries", "import", "-", "--source", "ship24", cwd=alone.path, env=alone.env, typed=single(1).decode())
    assert (done.returncode, "1 applied" in done.stdout) == (0, True), done.stderr
