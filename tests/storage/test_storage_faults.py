"""Errors of the database: only one that names a value is blamed on a message."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import orjson
import psycopg
import pytest
from psycopg import errors
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from receiver.clock import to_micros
from receiver.domain.records import Answer, Message, Submission
from receiver.domain.replays import ReplayOptions
from receiver.domain.retention import PruneStep
from receiver.errors import StorageUnavailable, Unauthorized
from receiver.sources import intake, make_sources
from receiver.storage.database import Database
from receiver.storage.faults import Fault, LostRace, find_fault
from receiver.storage.replay import ReplayDecider
from receiver.storage.stored_deliveries import read_delivery
from receiver.storage.transactions import Transactions
from receiver.writer.commands import deliveries
from receiver.writer.commands.deliveries import TrimRefused, TryTables
from receiver.writer.commands.removal import ClaimPruning, Prune
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.postgresql import Cluster
from tests.harness.rows import count_rows, table_rows
from tests.harness.service import Service, wait_until
from tests.harness.storage import change, make_tables
from tests.harness.store import NOW, Store, delivery, opened, outcomes, submission
from tests.harness.table import each_row

SHIP24 = next(source for source in make_sources({}, {}) if source.name == "ship24")
OPS = "the-ops-token-of-these-tests"
TOO_LONG = "22001"
STATES = sorted({str(state) for kind in vars(errors).values() if isinstance(state := getattr(kind, "sqlstate", None), str)})


def wrapped(error: Exception) -> DBAPIError:
    """Return an error of a driver as SQLAlchemy hands it on."""
    made = DBAPIError.instance("SELECT 1", None, error, Exception)
    assert isinstance(made, DBAPIError)
    return made


def sqlite_error(name: str) -> sqlite3.Error:
    error = sqlite3.DatabaseError("something")
    error.sqlite_errorname = name
    return error


def test_of_all_states_of_postgresql_only_two_classes_are_content() -> None:
    expected = dict.fromkeys(STATES, Fault.STORAGE) | dict.fromkeys(("40001", "40P01"), Fault.RACE)
    expected |= {state: Fault.CONTENT for state in STATES if state[:2] in {"22", "54"} and state != TOO_LONG}
    assert {state: find_fault(errors.lookup(state)("something")) for state in STATES} == expected
    assert {state: find_fault(wrapped(errors.lookup(state)("something"))) for state in STATES} == expected


@each_row(
    ("name", "fault"),
    [
        *((f"SQLITE_CONSTRAINT_{name}", Fault.STORAGE) for name in ("TRIGGER", "CHECK", "FOREIGNKEY", "DATATYPE", "UNIQUE")),
        ("SQLITE_TOOBIG", Fault.CONTENT),
        ("SQLITE_MISMATCH", Fault.CONTENT),
        *((f"SQLITE_{name}", Fault.STORAGE) for name in ("ERROR", "BUSY", "FULL", "IOERR_FSYNC", "CORRUPT", "READONLY_DBMOVED")),
        *((f"SQLITE_{name}", Fault.STORAGE) for name in ("RANGE", "NOTADB", "CANTOPEN", "SCHEMA", "LOCKED", "AUTH", "MISUSE")),
    ],
)
def test_of_the_results_of_sqlite_those_about_a_value_are_content(name: str, fault: Fault) -> None:
    assert (find_fault(sqlite_error(name)), find_fault(wrapped(sqlite_error(name)))) == (fault, fault)


@each_row(
    ("name", "words", "fault"),
    [
        ("PRIMARYKEY", "UNIQUE constraint failed: messages.source, messages.message_id", Fault.CONTENT),
        ("UNIQUE", "UNIQUE constraint failed: messages.source", Fault.STORAGE),
        ("UNIQUE", "UNIQUE constraint failed: index 'theirs'", Fault.STORAGE),
        ("PRIMARYKEY", "UNIQUE constraint failed: theirs.source", Fault.STORAGE),
        ("NOTNULL", "NOT NULL constraint failed: messages.topic", Fault.CONTENT),
        ("NOTNULL", "NOT NULL constraint failed: messages.reason", Fault.STORAGE),
        ("NOTNULL", "NOT NULL constraint failed: messages.theirs", Fault.STORAGE),
        ("NOTNULL", "NOT NULL constraint failed: theirs.topic", Fault.STORAGE),
    ],
)
def test_of_the_constraints_of_sqlite_only_ours_are_content(name: str, words: str, fault: Fault) -> None:
    error = sqlite3.IntegrityError(words)
    error.sqlite_errorname = f"SQLITE_CONSTRAINT_{name}"
    assert find_fault(wrapped(error)) is fault


@each_row(
    ("statement", "fault"),
    [
        ("INSERT INTO table_versions VALUES ('v', '', '', 0), ('v', '', '', 0)", Fault.CONTENT),
        ("INSERT INTO table_versions VALUES ('v', '', '', NULL)", Fault.CONTENT),
        ("INSERT INTO alarms VALUES ('a', 'b', 0, 0, 'c', NULL), ('d', 'e', 0, 0, 'c', NULL)", Fault.STORAGE),
        ("INSERT INTO alarms VALUES ('a', 'b', 0, NULL, 'f', NULL)", Fault.STORAGE),
    ],
)
def test_of_the_constraints_of_postgresql_only_ours_are_content(postgresql_url: str, statement: str, fault: Fault) -> None:
    make_tables(postgresql_url)
    database = Database(postgresql_url)
    with closing(database), database.connect_writer() as connection:
        connection.execute(text("CREATE UNIQUE INDEX theirs ON alarms (message)"))
        connection.execute(text("ALTER TABLE alarms ALTER COLUMN ended_at SET NOT NULL"))
        with pytest.raises(DBAPIError) as raised:
            connection.execute(text(statement))
        connection.rollback()
    assert find_fault(raised.value) is fault


@each_row(
    ("error", "fault"),
    [
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), Fault.CONTENT),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), Fault.CONTENT),
        (OverflowError("Python int too large to convert to SQLite INTEGER"), Fault.CONTENT),
        (psycopg.OperationalError("the connection is closed"), Fault.STORAGE),
        (psycopg.ProgrammingError("cannot adapt type"), Fault.STORAGE),
        (psycopg.InterfaceError("something new"), Fault.STORAGE),
        (errors.lookup("XX000")("something"), Fault.STORAGE),
        (InvalidRequestError("Can't reconnect until invalid transaction is rolled back."), Fault.STORAGE),
        (StorageUnavailable("away"), Fault.STORAGE),
        (OSError(28, "No space left on device"), Fault.STORAGE),
        (MemoryError(), Fault.STORAGE),
        (LostRace(), Fault.RACE),
        (KeyError("a bug of ours"), Fault.CODE),
        (RecursionError(), Fault.CODE),
    ],
    ids=repr,
)
def test_what_no_database_has_named_is_judged_by_its_kind(error: Exception, fault: Fault) -> None:
    assert find_fault(error) is fault


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    with opened(database_url) as store:
        yield store


def raise_in_database(connection: Connection, state: str) -> None:
    connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'something' USING ERRCODE = '{state}'; END $$"))


@pytest.mark.parametrize("state", ["26000", "42P05", "42501", "57P01", "0A000", "P0001", "XX000"])
def test_work_is_done_on_a_new_connection_after_a_fault_of_the_database(postgresql_url: str, state: str) -> None:
    make_tables(postgresql_url)
    database = Database(postgresql_url)
    transactions = Transactions(database)
    used: list[object] = []

    def work(connection: Connection) -> str:
        used.append(connection.connection.driver_connection)
        if len(used) == 1:
            raise_in_database(connection, state)
        return "done"

    assert transactions.run(work) == "done"
    assert len(set(used)) == 2

    def always_fail(connection: Connection) -> None:
        used.append(None)
        raise_in_database(connection, state)

    used.clear()
    with pytest.raises(StorageUnavailable, match="something"):
        transactions.run(always_fail)
    assert len(used) == 2
    transactions.close()
    database.close()


@pytest.mark.parametrize("state", ["26000", "42501", "XX000"])
def test_a_read_after_a_fault_of_the_database_has_a_new_connection(postgresql_url: str, state: str) -> None:
    make_tables(postgresql_url)
    database = Database(postgresql_url)
    used: list[object] = []

    def read(*, failing: bool) -> None:
        with database.read() as connection:
            used.append(connection.connection.driver_connection)
            if failing:
                raise_in_database(connection, state)

    with pytest.raises(StorageUnavailable, match="something"):
        read(failing=True)
    read(failing=False)
    assert len(set(used)) == 2
    database.close()


def test_work_whose_commit_failed_is_not_done_again(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    change(
        postgresql_url,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'at commit'; END $$",
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    with opened(postgresql_url) as store:
        runs: list[int] = []

        def work(connection: Connection) -> None:
            runs.append(1)
            values = "('ship24', 'm', '', 'recorded', 'd', 0, '', 0)"
            names = "source, message_id, topic, outcome, delivery_id, position, digest, received_at"
            connection.execute(text(f"INSERT INTO messages ({names}) VALUES {values}"))

        with pytest.raises(StorageUnavailable, match="at commit"):
            store.transactions.run(work)
        assert runs == [1]


def test_a_batch_that_fails_for_no_value_is_not_stored_and_nothing_is_undecidable(store: Store) -> None:
    url = store.database.url.render_as_string()
    change(url, "ALTER TABLE trackers RENAME TO elsewhere")
    batch = [submission(ship24.single("one")), submission(ship24.single("two"))]
    assert store.inbox.keep(batch, NOW) == [None, None]
    change(url, "ALTER TABLE elsewhere RENAME TO trackers")
    assert count_rows(url, "deliveries") == 0
    kept: list[Answer | None] = store.inbox.keep(batch, NOW)
    assert [outcomes(answer) for answer in kept if answer is not None] == [["applied"], ["applied"]]


def test_whether_the_tables_take_writes_is_found_out_without_writing(store: Store) -> None:
    store.keep(ship24.single("one"))
    store.executor.do(TryTables())
    url = store.database.url.render_as_string()
    assert [row["message_id"] for row in table_rows(url, "messages", "message_id")] == ["one"]
    change(url, "ALTER TABLE terms RENAME TO elsewhere")
    with pytest.raises(StorageUnavailable):
        store.executor.do(TryTables())
    change(url, "ALTER TABLE elsewhere RENAME TO terms")


def codes(running: Service, *bodies: bytes) -> list[tuple[int, str | None]]:
    answers = [running.post(body) for body in bodies]
    return [(answer.status, orjson.loads(answer.body).get("error", {}).get("code")) for answer in answers]


def test_while_a_privilege_is_lost_deliveries_are_503_and_the_retry_applies(service: StartService, own_cluster: Cluster) -> None:
    own_cluster.create_database("granted")
    for statement in ("CREATE ROLE app LOGIN", "ALTER DATABASE granted OWNER TO app", "ALTER SCHEMA public OWNER TO app"):
        own_cluster.execute(statement, "granted")
    running = service(f"postgresql://app@127.0.0.1:{own_cluster.port}/granted", ops_tokens=OPS)
    assert running.post(ship24.single("before")).outcomes() == ["applied"]
    for statement in ("ALTER TABLE trackers OWNER TO postgres", "REVOKE ALL ON trackers FROM app"):
        own_cluster.execute(statement, "granted")
    assert codes(running, ship24.single("one"), ship24.single("two")) == [(503, "storage_unavailable")] * 2
    assert running.post(ship24.single("stranger"), token="wrong").status == 401
    wait_until(lambda: read_count(own_cluster, "deliveries") >= 1, "calls without a message are still written")
    assert running.get("/readyz").status == 503
    assert running.get("/ops/api/trackers", OPS).status == 503
    own_cluster.execute("GRANT ALL ON trackers TO app", "granted")
    wait_until(lambda: running.get("/readyz").status == 200, "the service is ready again")
    assert [running.post(ship24.single(name)).outcomes() for name in ("one", "two")] == [["applied"], ["applied"]]
    assert running.count("quarantine") == 0
    assert "error ignored" not in running.logs()


def read_count(cluster: Cluster, table: str) -> int:
    return int(cluster.execute(f"SELECT count(*) FROM {table} WHERE outcome = 'refused'", "granted"))


# Our own code fails on a body


def fail_to_read(_body: bytes) -> list[Message]:
    raise ZeroDivisionError("private-content")


def test_a_body_that_our_code_fails_to_read_is_stored_answered_500_and_replayed(store: Store) -> None:
    url = store.database.url.render_as_string()
    body = ship24.single("unread")
    failing = replace(SHIP24, split=fail_to_read)
    (answer,) = store.inbox.keep([intake.parse_delivery(failing, delivery(body))], NOW)
    assert answer is not None
    assert (answer.status, orjson.loads(answer.body)["error"]["code"]) == (500, "internal")
    (row,) = table_rows(url, "deliveries JOIN bodies ON delivery_id = id")
    assert (row["status"], row["outcome"], row["code"], bytes(row["body"])) == (500, "failed", "internal", body)
    assert "private-content" not in f"{answer.body!r} {row['reason']}"
    replays = ReplayDecider(store.database, timedelta(hours=48))
    again = intake.parse_stored([failing], read_delivery(store.database, row["id"]))
    stuck = store.transactions.run(lambda connection: replays.replay(connection, again, ReplayOptions(to_micros(NOW))))
    assert (stuck.items, stuck.problem is None) == ((), False)
    mended = intake.parse_stored([SHIP24], read_delivery(store.database, row["id"]))
    done = store.transactions.run(lambda connection: replays.replay(connection, mended, ReplayOptions(to_micros(NOW))))
    assert [item.after.outcome for item in done.items] == ["applied"]


def test_a_delivery_that_our_code_failed_to_read_is_not_trimmed_with_rejected_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "MAX_REFUSED", 1)
    url = store.database.url.render_as_string()
    failing = replace(SHIP24, split=fail_to_read)
    refused = [Submission(delivery(b""), error=Unauthorized("no")) for _ in range(3)]
    store.inbox.keep([intake.parse_delivery(failing, delivery(b"[]")), *refused], NOW)
    store.executor.do(TrimRefused())
    assert sorted(row["status"] for row in table_rows(url, "deliveries", "status")) == [401, 500]
    now = to_micros(NOW + timedelta(days=365))
    store.executor.do(ClaimPruning("me", now))
    store.executor.do(Prune("me", now, PruneStep("refused", now, 100)))
    assert [row["status"] for row in table_rows(url, "deliveries", "status")] == [500]
