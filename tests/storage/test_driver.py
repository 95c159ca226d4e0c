"""Statements that go straight to the driver: pipelines, the errors of SQLAlchemy, and the round trips of a batch."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from receiver.domain.changes import Subscription
from receiver.errors import StorageUnavailable
from receiver.storage.database import Database
from receiver.storage.driver import pipelined, run
from receiver.storage.faults import Fault, find_fault
from receiver.storage.transactions import Transactions
from tests.harness import ship24
from tests.harness.rows import count_rows, read_rows
from tests.harness.service import wait_until
from tests.harness.storage import WAITING, make_tables
from tests.harness.store import Store, opened, outcomes, poisoned, submission
from tests.harness.table import each_row

ADD = "INSERT INTO table_versions (version, compatible_from, program, migrated_at) SELECT '{0}', '{0}', '0', 0"
ROUND_TRIPS = 5
"""BEGIN, the check of the version, the lookups, the writes, COMMIT."""


def make_transactions(url: str) -> Iterator[Transactions]:
    make_tables(url)
    with closing(Database(url)) as database:
        database.take()
        with closing(Transactions(database)) as opened:
            yield opened


@pytest.fixture
def transactions(database_url: str) -> Iterator[Transactions]:
    yield from make_transactions(database_url)


@pytest.fixture
def on_server(postgresql_url: str) -> Iterator[Transactions]:
    yield from make_transactions(postgresql_url)


def do(*statements: str, is_wanted: bool = True) -> Callable[[Connection], object]:
    """Return work that runs statements in one pipeline; its result is the driver's connection."""

    def work(connection: Connection) -> object:
        with pipelined(connection, is_wanted=is_wanted):
            for statement in statements:
                run(connection, statement)
        return connection.connection.driver_connection

    return work


def test_results_are_there_after_a_pipeline(transactions: Transactions) -> None:
    def work(connection: Connection) -> list[int]:
        with pipelined(connection):
            cursors = [run(connection, f"SELECT {number}") for number in range(3)]
        return [cursor.fetchall()[0][0] for cursor in cursors]

    assert transactions.run(work) == [0, 1, 2]


@each_row("is_wanted", [True, False])
def test_an_error_in_a_pipeline_is_that_of_sqlalchemy_and_nothing_is_stored(transactions: Transactions, is_wanted: bool) -> None:
    for place in range(3):
        names = ["8001", "8002", "8003"]
        names.insert(place + 1, names[place])
        with pytest.raises(IntegrityError) as caught:
            transactions.run(do(*map(ADD.format, names), is_wanted=is_wanted))
        assert find_fault(caught.value) is Fault.CONTENT
    used = transactions.run(do(*map(ADD.format, ["8001", "8002", "8003"])))
    assert transactions.run(do("SELECT 1")) is used, "the connection goes on"
    transactions.run(do("DELETE FROM table_versions WHERE version > '8'"))


def test_an_unknown_table_is_a_fault_of_the_database(transactions: Transactions) -> None:
    with pytest.raises(StorageUnavailable, match="nowhere") as caught:
        transactions.run(do("SELECT 1", "SELECT 1 FROM nowhere", "SELECT 1"))
    assert isinstance(caught.value.__cause__, DBAPIError)
    transactions.run(do("SELECT 1"))


@each_row("place", [0, 1, 2])
def test_work_whose_connection_ends_in_a_pipeline_is_done_again_on_a_new_one(on_server: Transactions, place: int) -> None:
    before = on_server.run(do("SELECT 1"))
    endings = ["SELECT pg_terminate_backend(pg_backend_pid())"]

    def work(connection: Connection) -> object:
        statements = [ADD.format(f"8{place}0{number}") for number in range(2)]
        statements[place:place] = [endings.pop()] if endings else []
        return do(*statements)(connection)

    assert on_server.run(work) is not before
    with pytest.raises(IntegrityError):
        on_server.run(do(ADD.format(f"8{place}01")))


def test_a_time_out_in_a_pipeline_is_no_reason_for_another_connection(on_server: Transactions) -> None:
    runs = []

    def work(connection: Connection) -> None:
        runs.append(1)
        do("SET LOCAL statement_timeout = '10ms'", "SELECT pg_sleep(60)", ADD.format("8001"))(connection)

    with pytest.raises(StorageUnavailable, match="statement timeout"):
        on_server.run(work)
    assert runs == [1]
    on_server.run(do(ADD.format("8001")))


@each_row("is_wanted", [True, False])
def test_an_error_that_is_passed_over_is_never_a_commit(on_server: Transactions, is_wanted: bool) -> None:
    def work(connection: Connection) -> None:
        with suppress(DBAPIError):
            do(ADD.format("8001"), "SELECT 1/0", ADD.format("8002"), is_wanted=is_wanted)(connection)

    with pytest.raises(StorageUnavailable, match="passed over"):
        on_server.run(work)
    on_server.run(do(ADD.format("8001"), ADD.format("8002"), "DELETE FROM table_versions WHERE version > '8'"))


def test_a_race_is_lost_before_the_commit_and_the_batch_is_decided_again(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    copied = 'INSERT INTO messages SELECT (jsonb_populate_record(m, \'{"message_id": "late"}\'::jsonb)).* FROM messages m'
    with opened(postgresql_url) as store, psycopg.connect(postgresql_url) as other, ThreadPoolExecutor(1) as thread:
        store.keep(ship24.single("early"))
        other.execute(copied)
        kept = thread.submit(store.keep, ship24.body(ship24.item("late", "t-late"), ship24.item("later", "t-later")))
        wait_until(lambda: kept.done() or read_rows(postgresql_url, WAITING), "the batch waits for the key")
        other.commit()
        assert outcomes(kept.result()[0]) == ["duplicate", "applied"]
    counts = {name: count_rows(postgresql_url, name) for name in ("messages", "trackers", "events", "deliveries", "bodies")}
    assert counts == {"messages": 3, "trackers": 2, "events": 2, "deliveries": 2, "bodies": 2}


def test_a_value_that_only_the_database_refuses_is_blamed_on_its_message_alone(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    with opened(postgresql_url) as store:
        for _ in range(8):  # more often than the driver runs a statement before it prepares it
            kept = store.keep_submissions(submission(ship24.single()), poisoned(ship24.single()), submission(ship24.single()))
            assert [outcomes(answer)[0] for answer in kept] == ["applied", "quarantined", "applied"]


def make_group(tracker: int, number: int) -> bytes:
    """Return a delivery with a new message of one tracker, a later event each time, and one that came before."""
    name = f"t-{tracker}"
    messages = [
        ship24.item(f"{name}-{n}", name, [ship24.event(f"e-{n}", f"2025-03-01T10:0{n}:00")]) for n in (number, number - 1)
    ]
    return ship24.body(*messages)


def test_a_batch_makes_no_more_round_trips(postgresql_url: str, tmp_path: Path) -> None:
    """Count in a trace of libpq how often the server is asked for answers: by a Query, or a Sync after statements."""
    make_tables(postgresql_url)
    targets = [Subscription("shop"), Subscription("other", basis="shipment")]

    with closing(Store(postgresql_url, targets)) as store, (tmp_path / "trace").open("wb") as trace:
        for number in range(8):  # the driver prepares what it has run some times
            store.keep(*(make_group(tracker, number) for tracker in range(3)))
        driver: Any = store.transactions.run(do("SELECT 1"))
        driver.pgconn.trace(trace.fileno())
        store.keep(*(make_group(tracker, 8) for tracker in range(2, 5)))
        driver.pgconn.untrace()
    sent = [line.split("\t")[2:] for line in (tmp_path / "trace").read_text(errors="replace").splitlines() if "\tF\t" in line]
    assert sum(kind in {"Query", "Sync"} for _, kind, *_ in sent) == ROUND_TRIPS
