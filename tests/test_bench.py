"""The benchmark's arithmetic: percentiles, what a client reports, groups of questions, and what is reached."""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import fields
from datetime import date
from io import StringIO
from pathlib import Path

from rich.console import Console

from receiver.storage.wal import wal_of
from tests.bench import backup_latency, claims, cost, held_loop, peers, start_up, steady_rate, upgrade, written_pages
from tests.bench.__main__ import SECTIONS
from tests.bench.figures import percentile, summarise
from tests.bench.goals import GOALS, Goal, find_missing, make_goals_table
from tests.bench.load import Load, Paced, Target, read_paced, streaming
from tests.bench.memory import read_rollup
from tests.bench.page import PAGE, write_table
from tests.bench.query_latency import Answers, group
from tests.bench.query_latency import read_figures as read_slowest
from tests.bench.report import machine_table
from tests.bench.resource_use import Reading
from tests.bench.throughput import Case, Figures, make_cases
from tests.bench.throughput import read_figures as read_ratios
from tests.bench.written_pages import Frame, copied_pages, read_frames
from tests.conftest import lacking
from tests.harness.service import TOKEN, Service, wait_until
from tests.harness.table import each_row


@each_row(
    ("per_mille", "values", "expected"),
    [
        (500, [7], 7),
        (999, [7], 7),
        (500, [1, 2, 3, 4], 2),
        (500, [1, 2, 3, 4, 5], 3),
        (990, list(range(1, 101)), 99),
        (990, list(range(1, 102)), 100),
        (999, list(range(1, 1001)), 999),
        (1000, [1, 2, 3], 3),
    ],
)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(per_mille: int, values: list[int], expected: int) -> None:
    assert percentile(values, per_mille) == expected


def test_durations_are_summarised_in_milliseconds_in_any_order() -> None:
    assert summarise([3000, 1000, 2000]) == (3, 2.0, 3.0, 3.0, 3.0)


def printed(**changed: object) -> str:
    return "Running 2s test\n" + json.dumps(
        {"took": [1000], "waited": [], "failed": 0, "timely": 1, "micros": 2000000, **changed}
    )


def test_unanswered_requests_count_with_the_time_they_had_waited() -> None:
    paced = read_paced(printed(took=[1000] * 98, waited=[500_000, 300_000], timely=98), rate=50)
    assert (paced.answered, paced.unanswered, paced.wanted, paced.reached) == (98, 2, 50, 49)
    assert (paced.latency.calls, paced.latency.p50_ms, paced.latency.p99_ms, paced.latency.max_ms) == (100, 1.0, 300.0, 500.0)


def test_answers_after_the_end_do_not_count_for_the_reached_rate() -> None:
    paced = read_paced(printed(took=[1000] * 100, timely=60), rate=50)
    assert (paced.reached, paced.latency.calls) == (30, 100)


def test_calls_that_a_client_did_not_send_because_it_was_stopped_do_not_count_as_waiting(
    shared_service: Callable[..., Service],
) -> None:
    """At a low rate most connections sleep until their next call: 1.6 seconds from one to the next here."""
    if shutil.which("wrk") is None:
        lacking("wrk is not installed (Debian package: wrk)")
    running = shared_service()
    with streaming(Target(f"{running.url}/webhooks/ship24", TOKEN), rate=40) as stop:
        wait_until(lambda: running.count("deliveries") > 50, "the client sends")
        paced = stop()
    assert paced.answered > 50
    assert (paced.unanswered, paced.failed) == (0, 0)


@each_row(
    ("measured", "at_least", "reached"),
    [
        (0.2496, True, False),
        (0.25, True, True),
        (0.3, True, True),
        (0.2504, False, False),
        (0.25, False, True),
        (0.1, False, True),
    ],
)
def test_what_was_measured_is_judged_and_not_what_is_shown_of_it(measured: float, at_least: bool, reached: bool) -> None:
    goal = Goal("one", "cases", "One", "0.1-0.2", 0.25, 2, at_least=at_least)
    wanted = f"{'≥' if at_least else '≤'} 0.25"
    assert goal.cells(measured) == ("One", "0.1-0.2", f"{measured:.2f}", wanted, "yes" if reached else "no")
    assert goal.cells(None) == ("One", "0.1-0.2", "not measured", wanted, "")
    assert goal._replace(wanted=None).cells(measured)[2:] == (f"{measured:.2f}", "-", "")


def test_questions_are_grouped_and_the_slowest_is_the_one_with_the_worst_p99() -> None:
    micros = {"search by 1 letter": [1000.0], "search by 1 letter:  stuck": [3000.0, 60_000.0], "audit": [2000.0]}
    search, audit = group(micros)
    assert (search.name, search.questions, search.worst_p99_ms) == ("search", 2, 60.0)
    assert (search.latency.calls, search.latency.p50_ms) == (3, 3.0)
    assert (audit.name, audit.questions, audit.worst_p99_ms) == ("audit", 1, 2.0)
    assert dict(read_slowest({"SQLite": Answers(micros)})) == {"slowest SQLite": 60.0}


def figures(*rates: float) -> list[Figures]:
    return [Figures(Load(calls=1, seconds=1, failed=0, p50_ms=1, p99_ms=1), rate, 0) for rate in rates]


def test_ratios_are_of_medians_and_left_out_where_one_side_is_missing() -> None:
    bare, ours = Case("a", "bare server", "bare"), Case("c", "ours, SQLite", "ours")
    results = {bare: figures(100, 30_000, 40_000), ours: figures(7500, 1, 9000)}
    assert dict(read_ratios(results)) == {"ours/bare sqlite": 0.25}
    assert dict(read_ratios({**results, bare: figures(0)})) == {}


def read_all_figures() -> set[str]:
    """Return the names of the figures that the sections give, of results as a whole run has them."""
    latency = summarise([1000])
    paced = Paced(1, 1, 1, 0, 0, latency)
    reading = Reading(*(1.0 for _ in fields(Reading)))
    names = ("SQLite", "PostgreSQL")
    kinds = [cost.Kind(name, on_postgresql=name == "PostgreSQL") for name in names]
    given: tuple[Iterable[tuple[str, float]], ...] = (
        read_ratios({case: figures(1) for case in make_cases(1)}),
        steady_rate.read_figures([steady_rate.Line(name, "ours", 0.5, paced) for name in names]),
        read_slowest(dict.fromkeys(names, Answers({"audit": [1.0]}))),
        backup_latency.read_figures([backup_latency.BackupRound(paced, paced, 1, 1, 1, 1)]),
        claims.read_figures([claims.Line(name, "1 behind", latency, is_behind=True) for name in names]),
        held_loop.read_figures([held_loop.Line("large", 1, [1.0], [1.0])]),
        cost.read_figures([(kind, cost.Cost(reading, reading)) for kind in kinds]),
    )
    return {name for pairs in given for name, _ in pairs}


def test_the_report_has_a_row_for_each_figure_that_a_section_gives_and_for_no_other() -> None:
    assert read_all_figures() | {"memory", "failed"} == {goal.key for goal in GOALS}
    assert len({goal.key for goal in GOALS}) == len(GOALS)


def test_the_report_has_the_rows_of_the_sections_that_ran_and_says_which_figure_is_missing() -> None:
    measured = {"half SQLite": 12.34, "failed": 0.0}
    console = Console(file=(text := StringIO()), width=80)
    console.print(make_goals_table(measured, ["rates"], 10_000_000))
    rows = [re.split(r"  +", line.strip()) for line in text.getvalue().splitlines()[3:] if line.strip()]
    assert rows == [
        ["p99 at half rate, SQLite, ms", "14-26", "12.3", "≤ 15.0", "yes"],
        ["PostgreSQL, ms", "11-20", "not measured", "≤ 15.0"],
        ["answers other than 2xx, all runs", "0", "0", "≤ 0", "yes"],
    ]
    assert find_missing(measured, ["rates"]) == ["PostgreSQL, ms"]


def test_the_whole_report_fits_a_page() -> None:
    console = Console(file=(text := StringIO()), width=80)
    console.print(make_goals_table({}, {goal.section for goal in GOALS}, 10_000_000))
    lines = [line for line in text.getvalue().splitlines()[3:] if line.strip()]
    assert len(lines) == len(GOALS)
    assert any("10 M kept" in line for line in lines)


def test_cases_with_the_same_service_have_different_keys() -> None:
    cases = make_cases(10_000_000)
    assert len({case.key for case in cases}) == len(cases)


def test_the_handlers_on_node_are_locked_to_packages_with_their_hashes_and_to_no_registry() -> None:
    locked = json.loads((peers.FOLDER / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert {"node_modules/fastify", "node_modules/better-sqlite3", "node_modules/pg"} < locked.keys()
    assert [name for name, package in locked.items() if "resolved" in package or (name and "integrity" not in package)] == []


def test_memory_is_what_a_process_shares_of_its_own_and_all_of_the_files_that_it_maps() -> None:
    lines = ["55d0-7ffe ---p 00000000 00:00 0 [rollup]", "Rss: 100 kB", "Pss: 60 kB", "Pss_Anon: 50 kB", "Anonymous: 70 kB"]
    assert read_rollup("\n".join(lines)) == (50 * 1024, 30 * 1024)


def test_a_table_on_the_page_is_replaced_and_all_else_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "before\n<!-- written: Rates -->\n```text\n{}\n```\n<!-- end -->\nafter\n"
    page.write_text(text.format("old"), encoding="utf-8")
    facts = machine_table([("processor", "a fast one"), ("sync", "median 0.03 ms")])
    write_table("Rates", facts, "new", page=page, day=date(2026, 11, 22))
    written = "processor  a fast one\nsync       median 0.03 ms\nnew\nmeasured on 2026-11-22"
    assert page.read_text(encoding="utf-8") == text.format(written)
    write_table("Missing", "new", page=page)
    assert page.read_text(encoding="utf-8") == text.format(written)


def test_an_empty_table_is_filled_and_the_one_after_it_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "".join(f"<!-- written: {title} -->\n```text\n{{}}```\n<!-- end -->\nafter {title}\n" for title in ("One", "Two"))
    page.write_text(text.format("", ""), encoding="utf-8")
    write_table("One", "new", page=page, day=date(2026, 11, 22))
    assert page.read_text(encoding="utf-8") == text.format("new\nmeasured on 2026-11-22\n", "")


def test_the_page_has_a_table_of_every_section_with_its_day() -> None:
    text = PAGE.read_text(encoding="utf-8")
    titles = re.findall(r"<!-- written: (.+) -->", text)
    ends = r"^(?:measured on \d{4}-\d\d-\d\d|not measured yet)\n```\n<!-- end -->$"
    assert len(re.findall(ends, text, re.MULTILINE)) == len(titles)
    sections = ["Full speed", "What a sync costs", "Steady rates", "Queries of operators, beside deliveries", "Beside a backup"]
    more = ["Claims behind failed changes", "The largest allowed calls", "Cost of a million messages", written_pages.TITLE]
    assert titles == ["Faults", "Report", "Machine", *sections, *more, start_up.TITLE, upgrade.TITLE]
    assert [name for name in SECTIONS if f"\n| `{name}` | " not in text and name != "questions"] == []


def test_pages_that_a_message_writes_are_counted_in_the_wal(tmp_path: Path) -> None:
    file = tmp_path / "counted.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE one (value)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_master").fetchone()[0]
        for value in range(3):
            connection.execute("INSERT INTO one VALUES (?)", (value,))
        assert [*read_frames(wal_of(file))] == [Frame(root, ends_commit=True)] * 3


def test_a_checkpoint_copies_each_page_once() -> None:
    frames = [
        Frame(1, ends_commit=False),
        Frame(2, ends_commit=True),
        Frame(1, ends_commit=False),
        Frame(2, ends_commit=True),
        Frame(2, ends_commit=False),
        Frame(3, ends_commit=True),
    ]
    assert [*copied_pages(frames, 2)] == [{1, 2}, {1, 2}, {2, 3}, set()]
    assert [*copied_pages(frames, 3)] == [{1, 2}, {2, 3}], "only at the end of a commit"
