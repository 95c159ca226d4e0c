"""The work of a claim does not grow with what waits: counted in SQLite's steps and in rows that PostgreSQL touches."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Connection, text

from receiver.domain.outbox_rows import DispatchRow
from receiver.storage.database import Database
from receiver.storage.outbox import Exchanged, Outbox, Outcome
from receiver.storage.statements import Insert
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import BLOCKED, DispatchTable
from receiver.storage.transactions import Transactions
from receiver.writer.commands.deliveries import Tidy
from receiver.writer.executor import CommandExecutor
from tests.harness.storage import change, make_tables

WAITING = 20_000
NOW = 1_740_823_200_000_000
LATER = NOW + 3_600_000_000
LEASED = NOW + 90_000_000
MAX_STEPS = 60_000  # of SQLite's machine; one that looks at all that waits needs several times as many
MAX_ROWS = 1_500  # of the outbox that PostgreSQL fetches


def row(tracker: object, move: int, due_at: int) -> DispatchRow:
    return DispatchRow("shop", "ship24", f"{tracker}", move, "e", due_at, 0, None, None, NOW)


def behind_one_failure() -> Iterator[DispatchRow]:
    yield row("bad", 1, LATER)
    yield from (row("bad", move, BLOCKED) for move in range(2, WAITING))


def behind_one_failure_and_not_blocked_yet() -> Iterator[DispatchRow]:
    yield row("bad", 1, LATER)
    yield from (row("bad", move, NOW - 9) for move in range(2, WAITING))


def behind_many_failures() -> Iterator[DispatchRow]:
    for number in range(WAITING // 10):
        yield row(number, 1, LATER)
        yield from (row(number, move, BLOCKED) for move in range(2, 11))


def failed_and_due_later() -> Iterator[DispatchRow]:
    yield from (row(number, 1, LATER) for number in range(WAITING))


def due_now() -> Iterator[DispatchRow]:
    yield from (row(number, 1, NOW - 9) for number in range(WAITING))


def due_for_another_target() -> Iterator[DispatchRow]:
    yield from (row(number, 1, NOW)._replace(target="other") for number in range(WAITING))


@pytest.fixture(
    params=[
        behind_one_failure,
        behind_one_failure_and_not_blocked_yet,
        behind_many_failures,
        failed_and_due_later,
        due_now,
        due_for_another_target,
    ],
    ids=lambda made: made.__name__,
)
def transactions(request: pytest.FixtureRequest, database_url: str) -> Iterator[tuple[Database, Transactions]]:
    """A database in which many changes wait, and a few that are due."""
    make_tables(database_url)
    database = Database(database_url)
    database.take()
    running = Transactions(database)
    insert = Insert(database, table_of(DispatchTable), DispatchRow)
    rows = [*request.param(), *(row(f"good{number}", 1, NOW - 5) for number in range(100))]
    running.run(lambda connection: insert.execute(connection, rows))
    if database.plans_by_statistics:  # the server does it by itself, sooner or later, perhaps while the rows were not there yet
        change(database_url, "ANALYZE dispatches")
    yield database, running
    running.close()
    database.close()


def counted(database: Database, connection: Connection, work: Callable[[], Exchanged]) -> tuple[Exchanged, int, int]:
    """Return what work returns, what it cost, and what it may cost."""
    if database.is_sqlite:
        ticks = count()
        driver: Any = connection.connection.dbapi_connection
        driver.set_progress_handler(lambda: next(ticks) and None, 100)
        done = work()
        driver.set_progress_handler(None, 0)
        return done, next(ticks) * 100, MAX_STEPS
    touched = text("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'dispatches'")
    before = connection.execute(touched).scalar_one()
    done = work()
    return done, connection.execute(touched).scalar_one() - before, MAX_ROWS


def test_a_claim_and_a_settlement_cost_the_same_whatever_waits(transactions: tuple[Database, Transactions]) -> None:
    database, running = transactions
    outbox = Outbox(database)
    marks = (f"relay.{number}" for number in count())

    def exchange(*outcomes: Outcome) -> Exchanged:
        def work(connection: Connection) -> tuple[Exchanged, int, int]:
            return counted(
                database, connection, lambda: outbox.exchange(connection, "shop", next(marks), NOW, LEASED, 32, outcomes)
            )

        exchanged, cost, limit = running.run(work)
        assert 0 < cost <= limit
        return exchanged

    while exchange().blocked:
        pass
    query = text("SELECT claim, source, tracker_id, move FROM dispatches WHERE claim IS NOT NULL")
    claimed = running.run(lambda connection: connection.execute(query).all())
    assert len(claimed) >= 32
    exchange(*(Outcome(*place) for place in claimed))
    assert running.run(lambda connection: connection.execute(query).all()) not in ([], claimed)


def test_an_outbox_that_was_analyzed_while_empty_is_analyzed_again_once_much_waits(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    database = Database(postgresql_url)
    running = Transactions(database)
    executor = CommandExecutor(database, running)
    insert = Insert(database, table_of(DispatchTable), DispatchRow)

    def fill(connection: Connection) -> None:
        insert.execute(connection, [row(number, 1, NOW - 5) for number in range(WAITING)])
        connection.execute(text("SELECT pg_stat_force_next_flush()"))

    def claim(connection: Connection) -> int:
        return counted(
            database, connection, lambda: Outbox(database).exchange(connection, "shop", f"{next(marks)}", NOW, LEASED, 32)
        )[1]

    marks = count()
    running.run(fill)
    change(postgresql_url, "DELETE FROM dispatches", "ANALYZE dispatches")  # its pages stay
    running.run(fill)
    assert running.run(claim) > 10 * MAX_ROWS, "the server plans for an empty table"
    executor.do(Tidy(executor.counts.take(), NOW))
    assert running.run(claim) <= MAX_ROWS
    running.close()
    database.close()
