"""What somebody added to our tables is never blamed on a message: it is answered 503, and applied once the addition is gone."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from secrets import token_hex

import pytest

from receiver.storage.additions import find_additions
from receiver.storage.database import Database
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.postgresql import Cluster
from tests.harness.rows import count_rows, table_rows
from tests.harness.storage import change, make_tables, update_rows
from tests.harness.store import NOW, Store, opened, outcomes, poisoned, submission
from tests.harness.table import each_row

_FUNCTION = "CREATE FUNCTION somebodys() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} END $$"
_TRIGGER = "CREATE TRIGGER theirs BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION somebodys()"
_NO_FUNCTION = "DROP FUNCTION somebodys CASCADE"
_CHECK = "CHECK (message_id <> 'bad')"


def made_by(name: str) -> bytes:
    """Return a body that one of the additions refuses."""
    event = ship24.event(location=None, order=2**40)
    return ship24.single(name, events=[event], shipment={"recipient": token_hex(8000), "statusMilestone": "in_transit"})


def refused(store: Store, add: Sequence[str], remove: Sequence[str], names: str) -> None:
    url = store.database.url.render_as_string(hide_password=False)
    change(url, *add)
    before = {table: count_rows(url, table) for table in ("deliveries", "bodies", "messages", "quarantine", "dispatches")}
    assert store.inbox.keep([submission(made_by("bad"))], NOW) == [None]
    assert {table: count_rows(url, table) for table in before} == before
    assert names in (store.inbox.take_fault() or "")
    change(url, *remove)
    assert outcomes(store.keep(made_by("bad"))[0]) == ["applied"]
    store.clear()


@pytest.fixture
def on_server(postgresql_url: str) -> Iterator[Store]:
    make_tables(postgresql_url)
    with opened(postgresql_url) as store:
        yield store


@pytest.fixture
def on_file(sqlite_url: str) -> Iterator[Store]:
    make_tables(sqlite_url)
    with opened(sqlite_url) as store:
        yield store


@each_row(
    ("add", "remove", "names"),
    [
        (
            [f"ALTER TABLE messages ADD CONSTRAINT no_bad {_CHECK}"],
            ["ALTER TABLE messages DROP CONSTRAINT no_bad"],
            "the constraint no_bad of the table messages",
        ),
        (
            [
                "CREATE TABLE couriers (code text PRIMARY KEY)",
                "ALTER TABLE events ADD CONSTRAINT known FOREIGN KEY (courier_code) REFERENCES couriers",
            ],
            ["DROP TABLE couriers CASCADE"],
            "the constraint known of the table events",
        ),
        *(
            ([_FUNCTION.format(body), _TRIGGER.format(table)], [_NO_FUNCTION], f"the trigger theirs of the table {table}")
            for table, body in (
                ("messages", "RAISE check_violation;"),
                ("messages", "RAISE 'no more';"),
                ("messages", "RAISE sqlstate '45000';"),
                ("messages", "INSERT INTO gone VALUES (1); RETURN NEW;"),
                ("events", "NEW.move = 1 / 0; RETURN NEW;"),
                ("events", "NEW.basis = NULL; RETURN NEW;"),
                ("deliveries", "RETURN NULL;"),
                ("bodies", "RETURN NULL;"),
                ("messages", "RETURN NULL;"),
            )
        ),
        (
            ["ALTER TABLE trackers ADD COLUMN shop text NOT NULL"],
            ["ALTER TABLE trackers DROP COLUMN shop"],
            "the NOT NULL column shop of the table trackers",
        ),
        (
            ["ALTER TABLE events ALTER COLUMN location SET NOT NULL"],
            ["ALTER TABLE events ALTER COLUMN location DROP NOT NULL"],
            "the NOT NULL column location of the table events",
        ),
        (
            ["ALTER TABLE messages ALTER COLUMN message_id TYPE varchar(2)"],
            ["ALTER TABLE messages ALTER COLUMN message_id TYPE text"],
            "the column of type character varying(2) message_id of the table messages",
        ),
        (
            ['ALTER TABLE events ALTER COLUMN "order" TYPE integer'],
            ['ALTER TABLE events ALTER COLUMN "order" TYPE bigint'],
            "the column of type integer order of the table events",
        ),
        (["CREATE INDEX theirs ON trackers (shipment)"], ["DROP INDEX theirs"], "the index theirs of the table trackers"),
        (["CREATE INDEX theirs ON trackers ((status::int))"], ["DROP INDEX theirs"], "the index theirs of the table trackers"),
    ],
)
def test_postgresql(on_server: Store, add: list[str], remove: list[str], names: str) -> None:
    refused(on_server, add, remove, names)


@each_row(
    ("add", "remove", "names"),
    [
        (
            [f"ALTER TABLE messages ADD COLUMN theirs TEXT {_CHECK}"],
            ["ALTER TABLE messages DROP COLUMN theirs"],
            "the constraint CHECK of the table messages",
        ),
        *(
            (
                [f"CREATE TRIGGER theirs BEFORE INSERT ON {table} BEGIN SELECT RAISE({action}); END"],
                ["DROP TRIGGER theirs"],
                f"the trigger theirs of the table {table}",
            )
            for table, action in (
                ("messages", "ABORT, 'no more'"),
                ("messages", "IGNORE"),
                ("deliveries", "IGNORE"),
                ("bodies", "IGNORE"),
            )
        ),
        *(
            ([f"CREATE INDEX theirs ON events {of}"], ["DROP INDEX theirs"], "the index theirs of the table events")
            for of in ("(json(status))", "(status) WHERE json(status) <> ''")
        ),
        (
            [
                "CREATE TABLE theirs (name TEXT PRIMARY KEY)",
                "CREATE TRIGGER theirs BEFORE INSERT ON messages BEGIN INSERT INTO theirs VALUES ('once'), ('once'); END",
            ],
            ["DROP TRIGGER theirs", "DROP TABLE theirs"],
            "the trigger theirs of the table messages",
        ),
    ],
)
def test_sqlite(on_file: Store, add: list[str], remove: list[str], names: str) -> None:
    refused(on_file, add, remove, names)


def test_a_unique_index_of_somebody_drops_nothing(database_url: str) -> None:
    make_tables(database_url)
    with opened(database_url) as store:
        for table in ("deliveries", "quarantine"):
            first, second = (ship24.single(events=[ship24.event(occurrence=None)]) for _ in range(2))
            store.keep(first)
            change(database_url, f"CREATE UNIQUE INDEX theirs ON {table} (source)")
            assert store.inbox.keep([submission(second)], NOW) == [None]
            assert f"the index theirs of the table {table}" in (store.inbox.take_fault() or "")
            change(database_url, "DROP INDEX theirs")
            store.clear()


def test_what_refuses_one_message_harms_no_other(database_url: str) -> None:
    make_tables(database_url)
    column = f"ALTER TABLE messages ADD COLUMN theirs TEXT {_CHECK}"
    change(database_url, column if Database(database_url).is_sqlite else f"ALTER TABLE messages ADD {_CHECK}")
    with opened(database_url) as store:
        kept = store.inbox.keep([submission(ship24.single(name)) for name in ("one", "bad", "two")], NOW)
        assert [answer and outcomes(answer) for answer in kept] == [["applied"], None, ["applied"]]
        assert store.inbox.take_undecidable() == {}


def test_a_policy_for_rows_is_named_and_harms_only_those_rows(own_cluster: Cluster) -> None:
    own_cluster.create_database("guarded")
    for statement in ("CREATE ROLE app LOGIN", "ALTER DATABASE guarded OWNER TO app", "ALTER SCHEMA public OWNER TO app"):
        own_cluster.execute(statement, "guarded")
    url = f"postgresql://app@127.0.0.1:{own_cluster.port}/guarded"
    make_tables(url)
    change(url, *(f"ALTER TABLE messages {each} ROW LEVEL SECURITY" for each in ("ENABLE", "FORCE")))
    change(url, "CREATE POLICY theirs ON messages USING (true) WITH CHECK (message_id <> 'bad')")
    with opened(url) as store:
        kept = store.inbox.keep([submission(ship24.single(name)) for name in ("one", "bad", "two")], NOW)
        assert [answer and outcomes(answer) for answer in kept] == [["applied"], None, ["applied"]]
        assert "the policy theirs of the table messages" in (store.inbox.take_fault() or "")


def test_what_no_database_can_store_is_blamed_on_its_message(database_url: str) -> None:
    make_tables(database_url)
    with opened(database_url) as store:
        assert [outcomes(answer) for answer in store.keep_submissions(poisoned(ship24.single()))] == [["quarantined"]]


def test_doctor_names_what_was_added_and_finds_nothing_in_tables_of_ours(database_url: str, tmp_path: Path) -> None:
    make_tables(database_url)
    environ = {"RECEIVER_DATABASE_URL": database_url}
    assert "Not made by receiver" not in run_command("doctor", cwd=tmp_path, env=environ).stdout
    change(database_url, "CREATE UNIQUE INDEX theirs ON messages (topic)")
    findings = json.loads(run_command("doctor", "--json", cwd=tmp_path, env=environ).stdout)
    (found,) = (finding for finding in findings if finding["subject"] == "tables")
    assert found["verdict"] == "warn"
    assert "the index theirs of the table messages" in found["finding"]


def test_an_index_that_refuses_nothing_is_no_finding(database_url: str) -> None:
    make_tables(database_url)
    change(database_url, "CREATE INDEX theirs ON messages (received_at, position)")
    with closing(Database(database_url)) as database, database.read() as connection:
        assert find_additions(connection) == []


def test_tables_of_a_later_version_may_have_more(database_url: str) -> None:
    make_tables(database_url)
    change(database_url, "CREATE UNIQUE INDEX theirs ON messages (topic)")
    database = Database(database_url)
    with closing(database):
        with database.read() as connection:
            assert [addition.name for addition in find_additions(connection)] == ["theirs"]
        update_rows(database_url, "alembic_version", version_num="9999")
        with database.read() as connection:
            assert find_additions(connection) == []


@each_row(
    ("harm", "remedy"),
    [
        ("ALTER TABLE bodies SET UNLOGGED", "ALTER TABLE bodies SET LOGGED"),
        (
            "ALTER TABLE messages DROP CONSTRAINT pk_messages",
            "ALTER TABLE messages ADD CONSTRAINT pk_messages PRIMARY KEY (source, message_id)",
        ),
    ],
)
def test_nothing_is_written_into_a_table_that_a_crash_empties_or_without_its_key(
    postgresql_url: str, harm: str, remedy: str
) -> None:
    make_tables(postgresql_url)
    change(postgresql_url, harm)
    with opened(postgresql_url) as store:
        assert store.inbox.keep([submission(ship24.single())], NOW) == [None]
        assert f"`{remedy}`" in (store.inbox.take_fault() or "")
        change(postgresql_url, remedy)
        assert outcomes(store.keep(ship24.single())[0]) == ["applied"]
        store.clear()


@each_row(
    "setting",
    ["array_nulls = off", "standard_conforming_strings = off", "bytea_output = escape", "datestyle = german"],
)
def test_settings_of_the_database_change_nothing(postgresql_url: str, tmp_path: Path, setting: str) -> None:
    make_tables(postgresql_url)
    name, _, _ = setting.partition(" ")
    database = postgresql_url.rpartition("/")[2]
    change(postgresql_url, f"ALTER DATABASE {database} SET {setting}")
    try:
        with opened(postgresql_url) as store:
            assert outcomes(store.keep(made_by("it's \\ new"))[0]) == ["applied"]
            (row,) = table_rows(postgresql_url, "events", "message_id", "location")
            assert (row["message_id"], row["location"]) == ("it's \\ new", None)
            store.clear()
        assert "clock" in run_command("doctor", cwd=tmp_path, env={"RECEIVER_DATABASE_URL": postgresql_url}).stdout
    finally:
        change(postgresql_url, f"ALTER DATABASE {database} RESET {name}")
