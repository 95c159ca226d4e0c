"""No question reads a large table from end to end: how the databases mean to answer, and what they touch when they do.

The questions are those of the benchmark, so that none is measured that is not looked at here.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from receiver.domain.timelines import Timelines
from receiver.storage.database import Database
from receiver.storage.revisions import read_timelines
from receiver.storage.transactions import Transactions
from receiver.writer.commands.deliveries import TrimRefused
from receiver.writer.executor import CommandExecutor
from tests.bench.filling import copy, fill
from tests.bench.read_endpoints import Asker, ReadEndpoint
from tests.harness.postgresql import Cluster
from tests.harness.storage import change, make_tables

_MESSAGES = 50_000
_LARGE = (
    *("bodies", "deliveries", "events", "messages", "quarantine", "sightings", "terms", "trackers"),
    *("dispatches", "dead_changes", "delivered_changes"),
)
_SCAN = re.compile(rf"SCAN ({'|'.join(_LARGE)})\b")
_MAX_STEPS = 100_000  # of SQLite's machine; to read 50,000 rows takes several times as many
_MAX_ROWS = 6_000  # that PostgreSQL looks at in one statement
_STEPS_A_TICK = 100

Statement = tuple[str, Any]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with months of deliveries and without SQLite's own statistics."""
    path = tmp_path_factory.mktemp("filled") / "receiver.db"
    make_tables(f"sqlite:///{path}")
    fill(path, _MESSAGES, path.with_name("known"))
    return path


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def on_sqlite(request: pytest.FixtureRequest, filled: Path) -> Iterator[Database]:
    if request.param == "analyzed":
        change(f"sqlite:///{filled}", "ANALYZE")
    database = Database(f"sqlite:///{filled}")
    for _ in range(2):  # the first read makes the WAL, so the second one opens the file once more
        with database.read() as connection:
            connection.exec_driver_sql("SELECT 1 FROM sqlite_master")
    yield database
    database.close()


@pytest.fixture(scope="module")
def on_postgresql(cluster: Cluster, filled: Path) -> Iterator[Database]:
    url = cluster.create_database("filled")
    make_tables(url)
    copy(filled, url)
    database = Database(url)
    yield database
    database.close()
    cluster.drop_database("filled")


@contextmanager
def listening() -> Iterator[list[Statement]]:
    """Give the statements that are executed in the block."""
    heard: list[Statement] = []

    def hear(_connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        heard.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


def statements_of(question: ReadEndpoint) -> list[Statement]:
    """Return the statements of a query, with parameters of several kinds."""
    draw = Random(question.name)
    with listening() as heard:
        for _ in range(4):
            question.ask(draw)
    return [statement for statement in heard if statement[0].startswith(("SELECT", "WITH"))]


def explain(connection: Connection, prefix: str, statement: Statement) -> list[str]:
    return [str(row[-1]) for row in connection.exec_driver_sql(f"{prefix} {statement[0]}", statement[1])]


def test_on_sqlite_no_question_scans_a_large_table(on_sqlite: Database) -> None:
    """To walk along a key up to a LIMIT is no scan, if nothing is sorted after it."""
    bad = []
    for question in Asker(on_sqlite).questions():
        statements = statements_of(question)
        with on_sqlite.read() as connection:
            for statement in statements:
                plan = explain(connection, "EXPLAIN QUERY PLAN", statement)
                walks = "LIMIT" in statement[0] and not any("TEMP B-TREE" in line for line in plan)
                bad += [(question.name, line) for line in plan if _SCAN.match(line) and not walks]
    assert bad == []


def test_on_postgresql_every_question_has_its_indexes(on_postgresql: Database) -> None:
    """Fifty thousand rows are few enough to be read whole at times: here this is forbidden, and a plan that has to is found."""
    bad = []
    for question in Asker(on_postgresql).questions():
        statements = statements_of(question)
        with on_postgresql.read() as connection:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            for statement in statements:
                plan = explain(connection, "EXPLAIN", statement)
                bad += [(question.name, line) for line in plan for table in _LARGE if f"Seq Scan on {table}" in line]
    assert bad == []


def test_on_sqlite_the_timelines_of_several_trackers_are_read_by_their_keys(on_sqlite: Database) -> None:
    with on_sqlite.read() as connection:
        with listening() as heard:
            read_timelines(connection, Timelines(), [("ship24", "one"), ("ship24", "other")])
        plans = [line for statement in heard for line in explain(connection, "EXPLAIN QUERY PLAN", statement)]
    assert [line for line in plans if line.startswith(("SCAN events", "SCAN superseded_events"))] == []
    assert len([line for line in plans if "(source=? AND tracker_id=?)" in line]) == 2


def test_on_sqlite_the_work_is_bounded(on_sqlite: Database) -> None:
    ticks = count()
    with on_sqlite.read() as connection:
        driver: Any = connection.connection.dbapi_connection
    driver.set_progress_handler(lambda: next(ticks) and None, _STEPS_A_TICK)
    steps: dict[str, int] = {}
    for question in bounded(on_sqlite):
        draw = Random(question.name)
        for _ in range(4):
            before = next(ticks)
            question.ask(draw)
            steps[question.name] = max(steps.get(question.name, 0), (next(ticks) - before - 1) * _STEPS_A_TICK)
    driver.set_progress_handler(None, 0)
    assert max(steps.values()) > 0
    assert {name: number for name, number in steps.items() if number > _MAX_STEPS} == {}


def test_on_postgresql_the_work_is_bounded(on_postgresql: Database) -> None:
    rows: dict[str, int] = {}
    for question in bounded(on_postgresql):
        statements = statements_of(question)
        with on_postgresql.read() as connection:
            for statement, parameters in statements:
                explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
                plan = connection.exec_driver_sql(explained, parameters).scalar_one()[0]["Plan"]
                rows[question.name] = max(rows.get(question.name, 0), count_rows(plan))
    assert max(rows.values()) > 0
    assert {name: number for name, number in rows.items() if number > _MAX_ROWS} == {}


def test_on_sqlite_rejected_deliveries_are_trimmed_without_reading_their_rows(on_sqlite: Database) -> None:
    """The writer looks every few seconds, and the rows lie all over the disk."""
    (plan,) = plans_to_trim(on_sqlite, "EXPLAIN QUERY PLAN")
    assert "USING COVERING INDEX ix_deliveries_not_accepted" in plan


def test_on_postgresql_rejected_deliveries_are_trimmed_without_reading_their_rows(on_postgresql: Database) -> None:
    (plan,) = plans_to_trim(on_postgresql, "EXPLAIN")
    assert re.search("Index Only Scan.* using ix_deliveries_not_accepted", plan), plan


def plans_to_trim(database: Database, prefix: str) -> list[str]:
    executor = CommandExecutor(database, Transactions(database))
    with database.read() as connection:
        with listening() as heard:
            assert TrimRefused().write(executor, connection) == 0
        return ["\n".join(explain(connection, prefix, statement)) for statement in heard]


def bounded(database: Database) -> list[ReadEndpoint]:
    """Return the questions whose work does not grow with the time that they ask for.

    The question for the targets counts the changes of each up to 10,000, and no further.
    """
    return [question for question in Asker(database).questions() if not question.name.startswith(("statistics", "targets"))]


def count_rows(plan: dict[str, Any]) -> int:
    """Return how many rows of tables a plan has looked at."""
    own = 0
    if "Relation Name" in plan:
        looked = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        own = looked * plan["Actual Loops"]
    return int(own) + sum(count_rows(part) for part in plan.get("Plans", ()))
