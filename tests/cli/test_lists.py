"""Lists of commands: all pages, CSV and JSON."""

import csv
import io
import json
from collections.abc import Callable

import pytest

from receiver.clock import now
from tests.harness.command import run_command
from tests.harness.sample_database import make_sample_database
from tests.harness.service import environment

Ask = Callable[..., str]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Run a command that reads more rows than a page can have."""
    directory = tmp_path_factory.mktemp("lists")
    url = f"sqlite:///{directory}/receiver.db"
    make_sample_database(url, now(), trackers=160)

    def run(*words: str, code: int = 0) -> str:
        done = run_command(*words, cwd=directory, env=environment(url))
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    return run


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_all_pages_of_a_list_are_shown_once_as_text_json_and_csv(ask: Ask) -> None:
    known: list[str] = []
    cursor: list[str] = []
    while True:
        page = json.loads(ask("deliveries", "list", "--json", "--limit", "200", *cursor))
        known += [row["id"] for row in page["items"]]
        if page["next"] is None:
            break
        cursor = ["--cursor", page["next"]]
    assert len(known) > 200
    whole = json.loads(ask("deliveries", "list", "--all", "--json"))
    assert ([row["id"] for row in whole["items"]], whole["next"]) == (known, None)
    assert [row["id"] for row in rows_of(ask("deliveries", "list", "--csv"))] == known
    lines = ask("deliveries", "list", "--all").splitlines()
    assert len(lines) == len(known) + 1, "the names of the columns stand there once"
    assert "more:" not in "".join(lines)


def test_a_list_by_time_has_the_oldest_first_if_one_asks(ask: Ask) -> None:
    for name, key in (("deliveries", ["id"]), ("messages", ["delivery_id", "position"]), ("trackers", ["source", "tracker_id"])):
        newest, oldest = (
            [tuple(row[column] for column in key) for row in rows_of(ask(name, "list", "--sort", sort, "--csv"))]
            for sort in ("newest", "oldest")
        )
        assert len(newest) > 100
        assert oldest == newest[::-1]
    assert "sort" in ask("trackers", "list", "--q", "1z", "--sort", "oldest", code=2)
    assert "--follow" in ask("deliveries", "list", "--follow", "--sort", "oldest", code=2)


def test_csv_has_the_fields_of_json_and_keeps_to_the_filter(ask: Ask) -> None:
    for words in (["trackers", "list", "--source", "shiipp"], ["messages", "list"], ["quarantine", "list"], ["audit", "list"]):
        expected = json.loads(ask(*words, "--all", "--json"))["items"]
        rows = rows_of(ask(*words, "--csv"))
        assert len(rows) == len(expected) > 0
        assert list(rows[0]) == list(expected[0])
    shiipp = rows_of(ask("trackers", "list", "--source", "shiipp", "--csv"))
    assert {row["source"] for row in shiipp} == {"shiipp"}


def test_formats_exclude_each_other(ask: Ask) -> None:
    assert "--csv or --json" in ask("trackers", "list", "--csv", "--json", code=2)
    assert "--follow" in ask("deliveries", "list", "--follow", "--all", code=2)
