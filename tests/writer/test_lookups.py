"""Lookups of silent trackers are shared out among all receivers on a database."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import repeat

import pytest

from receiver.storage.database import Database
from receiver.storage.transactions import Transactions
from receiver.writer.commands.recovery import EndTracking, TakeLookup
from receiver.writer.executor import CommandExecutor
from tests.harness.rows import table_rows
from tests.harness.storage import make_tables

HOUR = 3600


@pytest.fixture
def executors(database_url: str) -> Iterator[list[CommandExecutor]]:
    """Two receivers on PostgreSQL, one on SQLite."""
    make_tables(database_url)
    with ExitStack() as stack:
        made = []
        for _ in range(1 if database_url.startswith("sqlite") else 2):
            database = stack.enter_context(closing(Database(database_url)))
            database.take()
            made.append(CommandExecutor(database, stack.enter_context(closing(Transactions(database)))))
        yield made


def take(executor: CommandExecutor, tracker_id: str, now: int = 10 * HOUR, most: int = 100) -> bool:
    return executor.do(TakeLookup("ship24", tracker_id, now, now - 5 * HOUR, now - HOUR, most))


def test_a_tracker_is_looked_up_by_one_receiver_and_again_when_it_is_due(executors: list[CommandExecutor]) -> None:
    with ThreadPoolExecutor() as pool:
        taken = [list(pool.map(take, executors, repeat(f"t{number}"))) for number in range(20)]
    assert [sum(each) for each in taken] == [1] * 20
    assert not take(executors[0], "t0", 14 * HOUR)
    assert take(executors[0], "t0", 16 * HOUR)


def test_all_receivers_together_keep_to_the_number_of_an_hour(executors: list[CommandExecutor]) -> None:
    assert [take(executors[-1], f"t{number}", most=3) for number in range(5)] == [True] * 3 + [False] * 2
    assert take(executors[0], "t4", 12 * HOUR, most=3), "an hour later"


def test_a_tracker_that_ends_is_no_longer_tracked(executors: list[CommandExecutor], database_url: str) -> None:
    take(executors[0], "t")
    executors[0].do(EndTracking("ship24", "t"))
    assert [bool(row["is_tracked"]) for row in table_rows(database_url, "lookups", "is_tracked")] == [False]
