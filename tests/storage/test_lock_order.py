"""Two batches never wait for each other: each locks rows, and inserts keys, in sorted order.

While a batch waits for a key in the middle, it holds exactly those before it, whatever the order of its messages. What parallel
requests show of this depends on the order of sets in both processes; this does not.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random

import psycopg
import pytest

from tests.harness import ship24
from tests.harness.rows import read_rows
from tests.harness.service import wait_until
from tests.harness.storage import WAITING, make_tables
from tests.harness.store import opened

NUMBERS = range(10, 50)
MIDDLE = 30
AFTER = [number for number in NUMBERS if number > MIDDLE]
KEYS = {"trackers": "tracker_id", "messages": "message_id"}


@pytest.fixture
def url(postgresql_url: str) -> str:
    """A database with a tracker and a message, both named 01, that rows are copied from."""
    make_tables(postgresql_url)
    keep(postgresql_url, make_batch([1], "0"))
    return postgresql_url


def make_batch(numbers: Sequence[int], messages: str) -> bytes:
    """Return a body with a message for each number, in another order; the names of the messages begin with this text."""
    shuffled = Random(3).sample(numbers, len(numbers))
    return ship24.body(*(ship24.item(f"{messages}{number}", f"0{number}") for number in shuffled))


def keep(url: str, body: bytes) -> int:
    with opened(url) as store:
        return store.keep(body)[0].status


@contextmanager
def waiting(url: str, body: bytes, server: psycopg.Connection) -> Iterator[None]:
    """Let a batch wait for what the transaction of `server` holds, as long as the block lasts."""
    with ThreadPoolExecutor(1) as thread:
        kept = thread.submit(keep, url, body)
        try:
            wait_until(lambda: kept.done() or read_rows(url, WAITING), "the batch waits")
            assert not kept.done(), "it did not wait"
            yield
        finally:
            server.rollback()
        assert kept.result() == 200


def insert(server: psycopg.Connection, table: str, name: str) -> None:
    """Insert a copy of the row 01 under another name."""
    changed = f"jsonb_populate_record(known, jsonb_build_object('{KEYS[table]}', %s::text))"
    copied = f"SELECT ({changed}).* FROM {table} known WHERE {KEYS[table]} = '01'"
    server.execute(f"INSERT INTO {table} {copied} ON CONFLICT DO NOTHING", [name])


def list_free(url: str, table: str, begins_with: str) -> list[int]:
    """Return the numbers of the names that nobody else is about to insert."""
    free = []
    with psycopg.connect(url) as server:
        for number in NUMBERS:
            server.execute("SET LOCAL lock_timeout = '5ms'")  # whoever waits, waits until this test lets the other one go on
            try:
                insert(server, table, f"{begins_with}{number}")
                free.append(number)
            except psycopg.errors.LockNotAvailable:
                pass
            server.rollback()
    return free


def test_trackers_are_locked_in_order(url: str) -> None:
    keep(url, make_batch(NUMBERS, "first-"))
    with psycopg.connect(url) as server, psycopg.connect(url) as other:
        server.execute("SELECT FROM trackers WHERE tracker_id = %s FOR UPDATE", [f"0{MIDDLE}"])
        with waiting(url, make_batch(NUMBERS, "second-"), server):
            free = other.execute("SELECT tracker_id FROM trackers ORDER BY tracker_id FOR UPDATE SKIP LOCKED").fetchall()
            other.rollback()
    assert [name for (name,) in free] == ["01", *(f"0{number}" for number in AFTER)]


def test_new_trackers_are_inserted_in_order(url: str) -> None:
    with psycopg.connect(url) as server:
        insert(server, "trackers", f"0{MIDDLE}")
        with waiting(url, make_batch(NUMBERS, "first-"), server):
            free = list_free(url, "trackers", "0")
    assert free == AFTER


def test_messages_are_inserted_in_order(url: str) -> None:
    keep(url, make_batch(NUMBERS, "first-"))
    with psycopg.connect(url) as server:
        insert(server, "messages", f"second-{MIDDLE}")
        with waiting(url, make_batch(NUMBERS, "second-"), server):
            free = list_free(url, "messages", "second-")
    assert free == AFTER
