"""Storage: races between processes, awkward values, and readers that cannot write."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import orjson
import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from receiver.domain.records import Answer
from receiver.domain.rows import MessageRow, TrackerRow
from receiver.errors import ConfigurationError, ReceiverError, StorageUnavailable, WriterTaken
from receiver.storage.database import Database
from receiver.storage.faults import LostRace
from receiver.storage.ledger import is_next
from receiver.storage.statements import Insert, Lookup, columns_of
from receiver.storage.tables.ledger import MessageTable, TrackerTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.transactions import Transactions
from tests.harness import ship24
from tests.harness.rows import count_rows, table_rows
from tests.harness.service import wait_until
from tests.harness.storage import make_tables
from tests.harness.store import Store, opened, outcomes
from tests.harness.table import each_row

AWKWARD = {
    "a NUL": "before\0after",
    "only a NUL": "\0",
    "four bytes": "\N{PACKAGE}\U0001f600" * 10,
    "500 letters": "x" * 500,
    "500 of four bytes": "\N{PACKAGE}" * 500,
    "200 that grow when folded": "\N{GREEK SMALL LETTER IOTA WITH DIALYTIKA AND TONOS}" * 200,
    "right to left": "\u202eabc",
    "quotes": "'; DROP TABLE messages; --",
    "placeholders": "%s ? :name {0} %(x)s $1",
    "like SQL": "%_\\",
    "spaces around": "  x  ",
    "a line break": "a\r\nb\t",
    "beyond": "\uffff\ufffd",
    "combining": "e\u0301",
}


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    with opened(database_url) as store:
        yield store


def message_row(message_id: str) -> MessageRow:
    return MessageRow("ship24", message_id, None, "tracking/events", "recorded", None, "delivery", 0, "digest", 0)


# Statements


@each_row("number", [0, 1, 31, 32, 33, 100])
def test_an_insert_writes_any_number_of_rows_and_a_lookup_finds_them(store: Store, number: int) -> None:
    store.clear()
    table = table_of(MessageTable)
    insert = Insert(store.database, table, MessageRow)
    lookup = Lookup(store.database, table, [table.c.message_id, table.c.position])
    names = [f"m-{place:03}" for place in range(number)]

    def work(connection: Connection) -> list[str]:
        assert insert.execute(connection, [message_row(name) for name in names]).is_complete
        return [row[0] for row in lookup.execute(connection, [("ship24", name) for name in [*names, "unknown"]])]

    assert sorted(store.transactions.run(work)) == names


def test_an_insert_tells_when_somebody_else_was_first(store: Store) -> None:
    insert = Insert(store.database, table_of(MessageTable), MessageRow)
    assert store.transactions.run(lambda connection: insert.execute(connection, [message_row("one")])).is_complete
    both = [message_row("one")._replace(digest="other"), message_row("two")]
    assert not store.transactions.run(lambda connection: insert.execute(connection, both)).is_complete
    kept = table_rows(store.database.url.render_as_string(), "messages", "message_id", "digest", order="message_id")
    assert [(row["message_id"], row["digest"]) for row in kept] == [("one", "digest"), ("two", "digest")]


def test_a_versioned_insert_replaces_only_the_version_before_its_own(store: Store) -> None:
    store.keep(ship24.single(tracker_id="moving"))
    table = table_of(TrackerTable)
    find = Lookup(store.database, table, columns_of(table, TrackerRow), lock="wait")
    put = Insert(store.database, table, TrackerRow, replace_if=is_next, keep_if_null=["shipment"])

    def move(version: int, status: str) -> Callable[[Connection], bool]:
        def work(connection: Connection) -> bool:
            (row,) = find.execute(connection, [("ship24", "moving")])
            changed = TrackerRow._make(row)._replace(version=version, status=status, shipment=None)
            return put.execute(connection, [changed]).is_complete

        return work

    assert store.transactions.run(move(2, "second"))
    assert not store.transactions.run(move(2, "again"))
    assert not store.transactions.run(move(4, "too far"))
    (row,) = table_rows(store.database.url.render_as_string(), "trackers", "version", "status", "shipment")
    assert (row["version"], row["status"]) == (2, "second")
    assert row["shipment"] is not None


# Transactions


def test_work_that_fails_leaves_nothing_and_the_next_goes_on(store: Store) -> None:
    insert = Insert(store.database, table_of(MessageTable), MessageRow)

    def fail(connection: Connection) -> None:
        insert.execute(connection, [message_row("lost")])
        raise LookupError

    with pytest.raises(LookupError):
        store.transactions.run(fail)
    assert outcomes(store.keep(ship24.single("lost"))[0]) == ["applied"]


def test_a_lost_race_is_run_again_and_given_up_after_a_bounded_number(store: Store) -> None:
    runs: list[int] = []

    def lose(connection: Connection) -> None:
        runs.append(1)
        if len(runs) < 3:
            raise LostRace

    store.transactions.run(lose)
    assert len(runs) == 3

    def always_lose(connection: Connection) -> None:
        runs.append(1)
        raise LostRace

    with pytest.raises(StorageUnavailable):
        store.transactions.run(always_lose)
    assert 10 < len(runs) < 100


def test_a_deadlock_is_a_race_and_not_a_fault_of_the_database(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    transactions = Transactions(Database(postgresql_url))
    with ThreadPoolExecutor(1) as threads, psycopg.connect(postgresql_url) as other:
        other.execute("CREATE TABLE rows AS SELECT generate_series(1, 2) AS id")
        other.commit()
        other.execute("SET deadlock_timeout = '60s'")  # so that ours is the one that is sacrificed
        other.execute("SELECT id FROM rows WHERE id = 2 FOR UPDATE")
        has_first, runs = Event(), []

        def work(connection: Connection) -> str:
            runs.append(1)
            connection.execute(text("SELECT id FROM rows WHERE id = 1 FOR UPDATE"))
            has_first.set()
            connection.execute(text("SELECT id FROM rows WHERE id = 2 FOR UPDATE"))
            return "done"

        ours = threads.submit(transactions.run, work)
        has_first.wait()
        other.execute("SELECT id FROM rows WHERE id = 1 FOR UPDATE")  # granted once ours has been sacrificed
        other.commit()
        assert ours.result() == "done"
        assert len(runs) > 1  # more, if ours is back before the other one has noticed
    transactions.close()


# The inbox


def test_two_inboxes_that_decide_the_same_message_keep_it_once(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    with opened(postgresql_url) as one, opened(postgresql_url) as other, ThreadPoolExecutor(1) as threads:
        other.keep(ship24.single("warm-up"))
        insert = Insert(one.database, table_of(MessageTable), MessageRow)
        decided: list[Future[list[Answer]]] = []

        def interleave(connection: Connection) -> str:
            insert.execute(connection, [message_row("raced")])
            decided.append(threads.submit(other.keep, ship24.single("raced")))
            wait_until(lambda: is_waiting(connection), "the other one waits for this transaction")
            return "kept first"

        assert one.transactions.run(interleave) == "kept first"
        (answer,) = decided[0].result()
        assert outcomes(answer) == ["duplicate"]
    assert count_rows(postgresql_url, "messages", message_id="raced") == 1
    assert count_rows(postgresql_url, "trackers") == 1  # that of the warm-up: the loser wrote nothing


def is_waiting(connection: Connection) -> bool:
    return bool(connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar())


def test_a_message_that_one_batch_repeats_is_stored_once(store: Store) -> None:
    body = ship24.body(ship24.item("twice"), ship24.item("twice"))
    answers = store.keep(body, body)
    assert [outcomes(answer) for answer in answers] == [["applied", "duplicate"], ["duplicate", "duplicate"]]


@each_row("value", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_text_is_stored_and_recognised_again(store: Store, value: str) -> None:
    store.clear()
    events = [ship24.event(f"e{value}", status=value, location=value, courierCode=value, statusCode=value)]
    item = ship24.item(f"m{value}", f"t{value}", events)
    item["tracker"] |= {"clientTrackerId": value, "trackingNumber": value, "shipmentReference": value}
    item["metadata"]["topic"] = value
    item["shipment"] |= {"recipient": {"name": value}}
    body = ship24.body(item)
    assert outcomes(store.keep(body)[0]) == ["applied"]
    assert outcomes(store.keep(body)[0]) == ["duplicate"]
    second = ship24.item("second", f"t{value}", [ship24.event(f"e{value}"), ship24.event("later", "2025-03-02")])
    assert outcomes(store.keep(ship24.body(second))[0]) == ["applied"]
    url = store.database.url.render_as_string()
    bodies = [bytes(row["body"]) for row in table_rows(url, "bodies", "body")]
    assert sorted(bodies) == sorted([body, body, ship24.body(second)])
    assert count_rows(url, "trackers") == 1
    assert count_rows(url, "events") == 2


def test_an_identity_of_any_length_stays_itself(store: Store) -> None:
    long, longer = "x" * 500, "x" * 501
    assert outcomes(store.keep(ship24.single(long))[0]) == ["applied"]
    assert outcomes(store.keep(ship24.single(longer))[0]) == ["applied"]
    assert outcomes(store.keep(ship24.single(long))[0]) == ["duplicate"]


@each_row("order", [2**63 - 1, -(2**63), 2**63, -(2**70), 10**400])
def test_an_order_of_any_size_does_no_harm(store: Store, order: int) -> None:
    store.clear()
    body = orjson.dumps({"trackings": [ship24.item("big")]}).replace(b'"order":null', b'"order":%d' % order)
    assert outcomes(store.keep(body)[0]) == ["applied"]


# The door of the database


def test_a_reader_cannot_write(store: Store) -> None:
    def write() -> None:
        with store.database.read() as connection:
            connection.execute(text("INSERT INTO setup_windows VALUES ('ship24', 0, 9999999999999999)"))
            connection.commit()

    with pytest.raises((ReceiverError, SQLAlchemyError)):
        write()
    assert count_rows(store.database.url.render_as_string(), "setup_windows") == 0


@each_row("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/name", "nonsense", "sqlite:///file::memory:?uri=true"])
def test_a_database_that_keeps_nothing_or_is_unknown_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="RECEIVER_DATABASE_URL"):
        Database(url)


@each_row("url", ["postgres://u@h/n", "postgresql://u@h/n", "postgresql+psycopg://u@h/n"])
def test_every_spelling_of_postgresql_means_the_same_driver(url: str) -> None:
    assert Database(url).url.drivername == "postgresql+psycopg"


def test_a_sqlite_file_has_one_writer(sqlite_url: str) -> None:
    make_tables(sqlite_url)
    with opened(sqlite_url), pytest.raises(WriterTaken, match="already writes"):
        Database(sqlite_url).take()
    with opened(sqlite_url) as store:
        assert outcomes(store.keep(ship24.single())[0]) == ["applied"]


def test_the_settings_that_durability_needs_are_switched_on(store: Store) -> None:
    found = store.database.durability()
    if store.database.is_sqlite:
        assert (found["journal_mode"], found["synchronous"]) == ("wal", "2")
    else:
        assert (found["synchronous_commit"], found["fsync"]) == ("on", "on")


def test_a_server_whose_default_is_not_to_sync_is_overruled(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as server:
        server.execute(f'ALTER DATABASE "{Database(postgresql_url).url.database}" SET synchronous_commit = off')
    assert Database(postgresql_url).durability()["synchronous_commit"] == "on"


def test_a_closed_sqlite_database_is_one_file(sqlite_url: str, tmp_path: Path) -> None:
    make_tables(sqlite_url)
    with opened(sqlite_url) as store:
        store.keep(ship24.single())
    assert not (tmp_path / "receiver.db-wal").exists()
