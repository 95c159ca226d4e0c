"""What commands print for people: sentences, tables that fit, ends of pages, and one line for a mistake."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.cells import cell_len

from receiver import cli
from receiver.cli._errors import printable
from receiver.cli._output import show_end
from receiver.storage.queries import ResultPage
from tests.harness.ports import free_port
from tests.harness.ship24 import body, event, item
from tests.harness.storage import add_row, make_tables
from tests.harness.store import Store, opened
from tests.harness.table import each_row

WIDE = "荷物が配達センターに到着しました"
HOSTILE = "\x1b[2Jgone\x07 [red]x[/red] \u202eabc\u2028"


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run commands in this process, in an empty folder and a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECEIVER_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("RECEIVER_PORT", str(free_port()))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["receiver", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def filled(run: Run, sqlite_url: str) -> Run:
    """Give commands on a database with stale, duplicate, hostile and quarantined things in it."""
    make_tables(sqlite_url)
    with opened(sqlite_url) as store:
        fill(store)
    return run


def fill(store: Store) -> None:
    store.keep(body(item("first", "T1", [event("now", "2025-03-02T10:00:00", status="Customs cleared")])))
    store.keep(
        body(
            item(
                "late",
                "T1",
                [event("before", "2025-03-01T10:00:00"), event("now", "2025-03-02T10:00:00", status="Customs cleared")],
            )
        )
    )
    store.keep(body(item("first", "T1", [event("now", "2025-03-02T10:00:00", status="Customs cleared")]), 7))
    names = {"trackerId": "t" * 130, "trackingNumber": HOSTILE + "n" * 90}
    events = [event("e" * 90, status=WIDE * 3, statusMilestone="mile stone " * 9), event("ev\x1b[31m", status=HOSTILE)]
    store.keep(body(item("m" * 90, events=events, tracker=names), item("bad", "T2", [event(HOSTILE, "yesterday")])))


def lines(done: Done) -> list[str]:
    assert (done.code, done.err) == (0, "")
    return done.out.splitlines()


def test_explain_tells_what_a_stale_message_lost_against(filled: Run) -> None:
    told = " ".join(" ".join(lines(filled("explain", "late"))).split())
    assert "Not applied. “Customs cleared” of 2025-03-02T10:00:00" in told
    assert "with token token-1" in told
    whole = json.loads(filled("explain", "late", "--json").out)
    assert (whole["about"], whole["against"]["event_id"]) == ("message", "now")
    of_call = " ".join(" ".join(lines(filled("explain", whole["delivery_id"]))).split())
    assert "Message 1, late: Out of date: older than current status." in of_call


def test_explain_of_an_unknown_id_is_one_line(filled: Run) -> None:
    assert filled("explain", "nothing-like-it") == Done(
        1, "", "receiver: Nothing has the number, ID, reference or customer code nothing-like-it.\n"
    )


SHOWN = [
    ["trackers", "list"],
    ["trackers", "show", "t" * 130],
    ["explain", "m" * 90],
    ["explain", "late"],
    ["deliveries", "list"],
    ["messages", "list"],
    ["quarantine", "list"],
    ["stats"],
]


@each_row("command", SHOWN)
def test_nothing_from_outside_is_wider_than_the_terminal_or_steers_it(filled: Run, command: list[str]) -> None:
    shown = lines(filled(*command))
    assert len(shown) > 2
    assert [line for line in shown if not line.isprintable()] == []
    assert [line for line in shown if cell_len(line) > 80] == []


def test_no_time_of_ours_is_in_another_zone_than_that_of_the_terminal(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also within sentences and beside names, not only in columns."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    delivery = json.loads(filled("deliveries", "list", "--json").out)["items"][0]["id"]
    shown = {" ".join(command): filled(*command).out for command in [*SHOWN, ["deliveries", "show", delivery]]}
    found = {name: re.findall(r'(?<![\w"])\d{4}\S*T\d\d:\d\d(?::\d\d\.\d+)?Z', text) for name, text in shown.items()}
    assert {name: times for name, times in found.items() if times} == {}
    assert [name for name, text in shown.items() if "Tokyo" not in text] == ["trackers list"]  # it has only times of couriers


def test_the_same_is_shown_of_postgresql(filled: Run, postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [
        command for command in SHOWN if command not in (["deliveries", "list"], ["messages", "list"], ["stats"])
    ]  # they tell ids and times
    on_sqlite = [lines(filled(*command)) for command in commands]
    make_tables(postgresql_url)
    with opened(postgresql_url) as store:
        fill(store)
    monkeypatch.setenv("RECEIVER_DATABASE_URL", postgresql_url)
    assert [len(lines(filled(*command))) for command in commands] == [len(shown) for shown in on_sqlite]
    assert {len(lines(filled(*command))) > 2 for command in SHOWN} == {True}


def test_an_id_is_whole_in_a_terminal_too_narrow_for_it(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    ids = [row["id"] for row in json.loads(filled("deliveries", "list", "--json").out)["items"]]
    shown = lines(filled("deliveries", "list"))
    header = next(line for line in shown if "response" in line)
    column = slice(header.index("id"), header.index("response"))
    assert "".join(line[column].strip() for line in shown[shown.index(header) + 2 :]) == "".join(ids)


@pytest.mark.parametrize("noun", ["trackers", "deliveries", "messages", "quarantine"])
def test_a_list_ends_with_the_way_to_its_next_page(filled: Run, noun: str) -> None:
    listed: list[Any] = json.loads(filled(noun, "list", "--json").out)["items"]
    seen = []
    cursor: list[str] = []
    while True:
        page = filled(noun, "list", "--limit", "1", *cursor, "--json")
        answer = json.loads(page.out)
        seen += answer["items"]
        end = filled(noun, "list", "--limit", "1", *cursor).out.splitlines()[-1]
        if answer["next"] is None:
            assert "more" not in end
            break
        assert end == f"more: --cursor {answer['next']}"
        cursor = ["--cursor", answer["next"]]
    assert seen == listed
    assert len(seen) > 1


def test_an_empty_page_shows_whether_there_is_more(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_end(ResultPage([], None), "deliveries")
    assert capsys.readouterr().out == "No deliveries found.\n"
    show_end(ResultPage([], "abc"), "deliveries")
    assert "limited number of rows" in (shown := capsys.readouterr().out)
    assert shown.endswith("\nmore: --cursor abc\n")


def test_filters_are_those_of_the_api(filled: Run) -> None:
    def found(*options: str) -> int:
        return len(json.loads(filled(*options, "--json").out)["items"])

    assert found("trackers", "list", "--stuck-days", "0.5") == 3
    assert found("trackers", "list", "--stuck-days", "20000") == 0
    assert found("trackers", "list", "--updated-before", "1s") == 3
    assert found("trackers", "list", "--updated-after", "2025-06-01") == 3
    assert found("trackers", "list", "--updated-after", "1m") == 0
    assert found("deliveries", "list", "--tracking-number", "tn-t1", "--status", "200", "--client", "127.0.0.1") == 3
    assert found("deliveries", "list", "--until", "2025-06-01") == 0
    assert found("deliveries", "list", "--since", "2025-06-01T12:00:00Z") == 4
    assert found("messages", "list", "--outcome", "not_applied", "--until", "2100-01-01") == 3
    assert found("messages", "list", "--outcome", "stale", "--tracking-number", "tn-t1") == 1
    assert found("messages", "list", "--reason", "bad_occurrence", "--source", "ship24") == 1
    assert found("quarantine", "list", "--reason", "bad_occurrence", "--source", "ship24") == 1
    assert found("quarantine", "list", "--q", "tn-t2", "--since", "2025-01-01") == 1
    assert found("quarantine", "list", "--q", "tn-t1") == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["deliveries", "list", "--since", "soon"], "yesterday 14:03"),
        (["deliveries", "list", "--status", "9"], "--status"),
        (["deliveries", "list", "--cursor", "not-one-of-ours"], "`next`"),
        (["deliveries", "list", "--follow", "--until", "1h"], "--until"),
        (["deliveries", "lst"], "lst"),
        (["trackers", "list", "--source", "ship25"], "ship24"),
        (["stats", "--window", "900d"], "400 days"),
        (["setup-window"], "ship24"),
        (["explain"], "ANY"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_that_names_it(filled: Run, arguments: list[str], named: str) -> None:
    done = filled(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("receiver: ")
    assert done.err.count("\n") == 1
    assert named in done.err


@pytest.mark.parametrize("command", ["trackers list", "explain x", "stats", "audit list", "deliveries list --follow"])
def test_a_database_without_tables_names_what_to_run(run: Run, command: str) -> None:
    done = run(*command.split())
    assert (done.code, done.out, "receiver migrate" in done.err, done.err.count("\n")) == (2, "", True, 1)


def test_the_doctor_reports_even_where_there_is_no_folder_yet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", "sqlite:///nowhere/receiver.db")
    done = run("doctor")
    assert (done.code, "receiver migrate" in " ".join(done.out.split()), done.err) == (1, True, "")
    assert "configuration" in done.out


def test_a_folder_that_is_not_there_is_named(filled: Run, tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("UserCode\nA1\n")
    assert filled("customers", "import", "some.csv").code == 0
    assert filled("customers", "export", "-") == Done(0, "UserCode,FirstName,LastName,Branch\r\nA1,,,\r\n", "")
    assert filled("customers", "export", "no/folder.csv") == Done(2, "", "receiver: no/folder.csv: No such file or directory\n")


def test_what_an_operator_changes_here_is_on_record(filled: Run, tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("UserCode\nA1\nA2\n")
    assert filled("customers", "import", "some.csv").code == 0
    assert filled("setup-window", "ship24", "--minutes", "5").code == 0
    assert filled("setup-window", "ship24", "--minutes", "0").code == 0
    entries = json.loads(filled("audit", "list", "--json").out)["items"]
    assert [(entry["action"], entry["subject"]) for entry in entries] == [
        ("setup-window close", "ship24"),
        ("setup-window open", "ship24"),
        ("customers import", "customers"),
    ]
    assert {(entry["actor"], entry["address"]) for entry in entries} == {("command line", None)}
    assert entries[2]["detail"] == "2 customers: 2 added, 0 changed, 0 removed, 0 unchanged"
    assert "setup-window close" in lines(filled("audit", "list"))[2]


def test_alarms_are_listed_and_the_doctor_warns_of_those_that_are_on(filled: Run, sqlite_url: str) -> None:
    add_row(sqlite_url, "alarms", name="silence", subject="ship24", began_at=1700000000000000, message="nothing came")
    ended = {"began_at": 1600000000000000, "ended_at": 1600000100000000}
    add_row(sqlite_url, "alarms", name="disk", subject="", message="nearly full", **ended)
    listed = json.loads(filled("alarms", "list", "--json").out)
    assert ([row["name"] for row in listed["items"]], listed["next"]) == (["silence", "disk"], None)
    shown = lines(filled("alarms", "list", "--on"))
    assert len(shown) == 3
    assert "nothing came" in shown[-1]
    findings = json.loads(filled("doctor", "--json").out)
    assert [row["finding"] for row in findings if row["subject"] == "alarm silence ship24"] == [
        "since 2023-11-14 22:13:20 UTC: nothing came"
    ]


def test_stats_count_what_came_in_the_window(filled: Run) -> None:
    found = json.loads(filled("stats", "--window", "7d", "--json").out)
    assert (found["window"], sorted(found["sources"])) == ("7d", ["shiipp", "ship24"])
    assert found["rows"]["trackers"] >= 0
    assert any(line.startswith("last delivery (UTC)") and "2025-06-01 12:00:00" in line for line in lines(filled("stats")))


def test_times_are_local_on_a_terminal_and_in_utc_elsewhere(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    shown = "\n".join(lines(filled("stats")))
    assert ("last delivery (Kolkata)" in shown, "2025-06-01 17:30:00" in shown) == (True, True)
    in_utc = "\n".join(lines(filled("stats", "--utc")))
    assert ("last delivery (UTC)" in in_utc, "2025-06-01 12:00:00" in in_utc) == (True, True)
    monkeypatch.delenv("COLUMNS")
    in_pipe = "\n".join(lines(filled("stats")))
    assert ("last delivery (UTC)" in in_pipe, "2025-06-01T12:00:00.000Z" in in_pipe) == (True, True)


def test_a_typed_time_is_in_the_zone_that_is_shown(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")  # the deliveries came at 12:00 UTC, which is 17:30 there
    after = ("deliveries", "list", "--since", "2025-06-01 13:00")
    assert len(lines(filled(*after))) > 1
    assert lines(filled(*after, "--utc")) == ["No deliveries found."]
    assert json.loads(filled(*after, "--json").out)["items"] == []


@pytest.mark.parametrize("noun", ["trackers", "deliveries", "audit", "alarms"])
def test_a_list_in_a_pipe_is_whole_cells_with_tabs_between_them(
    filled: Run, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, noun: str
) -> None:
    assert filled("setup-window", "ship24", "--minutes", "5").code == 0
    add_row(sqlite_url, "alarms", name="x", subject="", began_at=1, message="a\tb\nc")
    items = json.loads(filled(noun, "list", "--json").out)["items"]
    monkeypatch.delenv("COLUMNS")
    columns, *rows = [line.split("\t") for line in lines(filled(noun, "list"))]
    assert len(columns) > 3
    assert [len(row) for row in rows] == [len(columns)] * len(items)
    whole = {"trackers": "tracking_number", "deliveries": "received_at", "audit": "done_at", "alarms": "began_at"}[noun]
    for row, listed in zip(rows, items, strict=True):
        assert printable(listed[whole]) in row


def test_the_way_to_the_next_page_is_no_row_of_a_pipe(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    done = filled("deliveries", "list", "--limit", "1")
    assert (done.out.count("\n"), done.err.startswith("more: --cursor ")) == (2, True)
    done = filled("deliveries", "list", "--status", "404")
    assert (done.out.count("\n"), done.err) == (1, "No deliveries found.\n")
