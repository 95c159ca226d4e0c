"""Upgrades: a program works on the tables of the next version, and serves nothing on tables that it does not know."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from alembic.script import Script, ScriptDirectory
from sqlalchemy import inspect

from receiver import __version__
from receiver.errors import SchemaOutdated, StorageUnavailable
from receiver.storage import schema, version
from receiver.storage.database import Database
from receiver.storage.version import VERSION, FoundVersion, explain_mismatch
from tests.conftest import StartService, lacking
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.completions import read_completed, read_mismarked
from tests.harness.database_contents import check_whole
from tests.harness.earlier_version import EARLIER_TABLES, NotCloned, unpack_earlier, upgrade
from tests.harness.load import together
from tests.harness.rows import read_rows, table_rows
from tests.harness.service import Service, environment, wait_until
from tests.harness.storage import change, make_tables, migrate
from tests.harness.store import opened
from tests.harness.table import each_row
from tests.harness.traffic import Senders

OPS = "the-ops-token-of-these-tests"
SCRIPTS = ScriptDirectory(str(Path(version.__file__).parent / "migrations"))
MARKING = next(script.revision for script in SCRIPTS.walk_revisions() if "completed_manifests.py" in str(script.path))
SINCE_EARLIER = [script for script in reversed(list(SCRIPTS.walk_revisions())) if script.revision > EARLIER_TABLES]
UNKNOWN = ("UPDATE alembic_version SET version_num = '9998'",)
NEWER = (*UNKNOWN, "INSERT INTO table_versions VALUES ('9998', '9997', '7.8.9', 1)")
ADDITIVE = (*UNKNOWN, f"INSERT INTO table_versions VALUES ('9998', '{VERSION}', '7.8.9', 1)")
BACK = ("DELETE FROM table_versions WHERE version = '9998'", f"UPDATE alembic_version SET version_num = '{VERSION}'")


def earlier(directory: Path) -> Sequence[str]:
    try:
        return unpack_earlier(directory)
    except NotCloned as error:
        lacking(str(error))


# The rule


class Shape(NamedTuple):
    """What the code of one version relies on in a table."""

    columns: dict[str, tuple[str, bool]]
    mandatory: set[str]
    primary_key: list[str]
    refusing: list[Any]


def shapes(url: str) -> dict[str, Shape]:
    """Return the shapes of all tables. PostgreSQL is asked for all of them at once: for each, it takes seconds."""
    with closing(Database(url)) as database, database.read() as connection:
        found = inspect(connection)
        columns, keys = found.get_multi_columns(), found.get_multi_pk_constraint()
        refusing = (found.get_multi_unique_constraints(), found.get_multi_foreign_keys(), found.get_multi_check_constraints())
        indexes = found.get_multi_indexes()
        return {name[1]: _shape(columns[name], keys[name], indexes[name], [part[name] for part in refusing]) for name in columns}


def _shape(columns: Any, key: Any, indexes: Any, refusing: list[Any]) -> Shape:
    unique = [index["column_names"] for index in indexes if index["unique"]]
    return Shape(
        {column["name"]: (str(column["type"]), column["nullable"]) for column in columns},
        {column["name"] for column in columns if not column["nullable"] and column["default"] is None},
        key["constrained_columns"],
        [unique, *refusing],
    )


def is_additive(script: Script) -> bool:
    return script.revision == "0011" or not hasattr(script.module, "compatible_from")


def test_the_code_of_the_version_before_finds_all_it_knows_and_may_leave_out_all_it_does_not(database_url: str) -> None:
    upgrade(database_url, EARLIER_TABLES)
    before = shapes(database_url)
    for script in SINCE_EARLIER:
        upgrade(database_url, script.revision)
        after = shapes(database_url)
        for table in before.keys() - {"alembic_version"} if is_additive(script) else ():
            was, now = before[table], after[table]
            assert was.columns.items() <= now.columns.items(), (script.revision, table)
            assert now.mandatory <= was.mandatory, (script.revision, table)
            assert (now.primary_key, now.refusing) == (was.primary_key, was.refusing), (script.revision, table)
        before = after


def test_a_migration_that_removes_something_names_the_oldest_version_that_works_on_its_tables() -> None:
    known = [script.revision for script in reversed(list(SCRIPTS.walk_revisions()))]
    for script in SINCE_EARLIER:
        if hasattr(script.module, "compatible_from"):
            assert script.module.compatible_from in known[: known.index(script.revision)]


def test_a_migration_that_fills_rows_is_not_the_newest() -> None:
    """Until the next one is applied, the version tells that the rows may not all be filled."""
    filling = [script.revision for script in SCRIPTS.walk_revisions() if hasattr(script.module, "fill")]
    assert filling
    assert VERSION not in filling


BLOCKS_WITHOUT_MILESTONE = ["{}", '{"statusMilestone": 7}', '{"statusMilestone": ""}', "null", '{"statusMilestone": "\\u0000"}']


def add_trackers(url: str, number: int, source: str = "ship24") -> None:
    """Add trackers as version 0.1.0 has them, `t-1000` and those after it, each with a block."""
    columns = "source, subject, tracker_id, version, snapshot_generated_at, created_at, moved_at, moves, snapshot_message_id"
    values = f"'{source}', 'parcel', 't-' || i, 1, 1, 1, 1, 1, 'm'"
    block = """'{"statusMilestone": " delivered "}'"""
    counted = f"WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < {999 + number})"
    change(url, f"{counted} INSERT INTO trackers ({columns}, shipment) SELECT {values}, {block} FROM n")


def count_milestones(url: str) -> dict[str | None, int]:
    found = read_rows(url, "SELECT shipment_milestone, count(*) AS n FROM trackers GROUP BY shipment_milestone")
    return {row["shipment_milestone"]: row["n"] for row in found}


def test_rows_of_the_version_before_are_filled_also_where_the_first_try_was_interrupted(database_url: str) -> None:
    upgrade(database_url, EARLIER_TABLES)
    add_trackers(database_url, 1_001)
    add_trackers(database_url, 3, "shiipp")
    for number, block in enumerate(BLOCKS_WITHOUT_MILESTONE):
        change(database_url, f"UPDATE trackers SET shipment = '{block}' WHERE tracker_id = 't-{1500 + number}'")
    upgrade(database_url, "0010")  # and then it was interrupted
    assert count_milestones(database_url) == {None: 1_004}
    migrate(database_url)
    assert count_milestones(database_url) == {None: 8, "delivered": 996}


def test_rows_are_filled_piece_by_piece_and_those_of_no_other_piece_are_locked(postgresql_url: str) -> None:
    upgrade(postgresql_url, EARLIER_TABLES)
    add_trackers(postgresql_url, 1_200)
    upgrade(postgresql_url, "0010")
    with psycopg.connect(postgresql_url) as batch, psycopg.connect(postgresql_url) as other, ThreadPoolExecutor(1) as pool:
        batch.execute("UPDATE trackers SET version = 2 WHERE tracker_id = 't-1700'")
        migrating = pool.submit(migrate, postgresql_url)
        wait_until(lambda: count_milestones(postgresql_url).get("delivered") == 500, "the first piece is committed")
        wait_until(lambda: read_rows(postgresql_url, "SELECT 1 FROM pg_locks WHERE NOT granted"), "the second one waits")
        for tracker in ("t-1000", "t-1499", "t-2000"):
            other.execute(f"SELECT 1 FROM trackers WHERE tracker_id = '{tracker}' FOR UPDATE NOWAIT")
        other.commit()
        batch.commit()
        migrating.result(60)
    assert count_milestones(postgresql_url) == {"delivered": 1_200}


def test_packages_of_completed_manifests_are_marked_also_where_the_first_try_was_interrupted(database_url: str) -> None:
    upgrade(database_url, EARLIER_TABLES)
    add_trackers(database_url, 1_203, "shiipp")
    changes = [
        "UPDATE trackers SET subject = 'package' WHERE tracker_id NOT IN ('t-2200', 't-2201', 't-2202')",
        "UPDATE trackers SET subject = 'manifest', status_milestone = 'completed' WHERE tracker_id IN ('t-2200', 't-2202')",
        "UPDATE trackers SET subject = 'manifest', status_milestone = 'shipped' WHERE tracker_id = 't-2201'",
    ]
    for last in range(2):
        linked = f"SELECT source, tracker_id, 't-220{last}', 1 FROM trackers"
        of_digit = f"WHERE subject = 'package' AND substr(tracker_id, 6, 1) = '{last}'"
        changes.append(f"INSERT INTO links (source, package, manifest, linked_at) {linked} {of_digit}")
    change(database_url, *changes)
    upgrade(database_url, MARKING)  # and then it was interrupted
    assert read_completed(database_url) == []
    migrate(database_url)
    assert (len(read_completed(database_url)), read_mismarked(database_url)) == (120, [])


def test_each_migration_is_recorded_with_what_works_on_it_and_the_program_that_brought_it(database_url: str) -> None:
    migrate(database_url)
    recorded = table_rows(database_url, "table_versions", "version", "compatible_from", "program", order="version")
    assert [row["version"] for row in recorded] == [script.revision for script in SINCE_EARLIER if script.revision >= "0011"]
    assert {row["program"] for row in recorded} == {__version__}
    assert recorded[0]["compatible_from"] == EARLIER_TABLES


@each_row(
    ("found", "expected"),
    [
        (FoundVersion(VERSION), None),
        (FoundVersion("9998", VERSION, "7.8.9"), None),
        (FoundVersion("9998", EARLIER_TABLES, "7.8.9"), None),
        (FoundVersion("9998", "9997", "7.8.9"), "version 9998, made by receiver 7.8.9"),
        (FoundVersion("9998"), "a later version of receiver"),
        (FoundVersion(EARLIER_TABLES), "Run `receiver migrate`"),
        (FoundVersion(EARLIER_TABLES, EARLIER_TABLES, "0.1.0"), "Run `receiver migrate`"),
        (FoundVersion(None), "no tables yet. Run `receiver migrate`"),
    ],
)
def test_later_tables_are_served_only_if_they_name_this_version_as_compatible(found: FoundVersion, expected: str | None) -> None:
    told = explain_mismatch(found)
    assert told is None if expected is None else expected in str(told)


# While it runs


def test_tables_that_are_not_known_are_answered_503_at_once_and_nothing_is_written(
    service: StartService, database_url: str
) -> None:
    running = service(database_url, ops_tokens=OPS)
    assert running.post(ship24.single("before")).status == 200
    change(database_url, *NEWER)
    refused = running.post(ship24.single("meanwhile"))
    assert (refused.status, refused.json()["error"]["code"]) == (503, "storage_unavailable")
    listed = running.get("/ops/api/trackers", OPS)
    assert listed.status == 503
    assert "made by receiver 7.8.9" in listed.json()["error"]["message"]
    ready = running.get("/readyz")
    assert (ready.status, ready.json()["checks"]["schema"]["ok"]) == (503, False)
    assert "9998" in running.logs()
    change(database_url, *BACK)
    assert running.post(ship24.single("after")).outcomes() == ["applied"]
    assert {row["message_id"] for row in running.table("messages", "message_id")} == {"before", "after"}
    assert running.count("quarantine") == 0


def test_later_tables_that_only_have_more_are_served_without_a_break(service: StartService, database_url: str) -> None:
    running = service(database_url, ops_tokens=OPS)
    with Senders(running, senders=2, pause_seconds=0.05) as traffic:
        traffic.wait_for_answers(20)
        change(database_url, *ADDITIVE, "ALTER TABLE trackers ADD COLUMN later TEXT")
        traffic.wait_for_answers(50)
        traffic.stop()
    assert set(traffic.statuses) == {200}
    assert running.get("/readyz").status == 200
    assert running.get("/ops/api/trackers", OPS).status == 200
    assert running.stop() == 0
    running.restart()
    assert running.post(ship24.single("after")).outcomes() == ["applied"]


def test_a_transaction_that_began_before_a_migration_ends_before_it(postgresql_url: str) -> None:
    migrate(postgresql_url)
    with opened(postgresql_url) as store, psycopg.connect(postgresql_url) as other:

        def migrate_meanwhile(connection: Any) -> bool:
            other.execute("SET lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
            return True

        assert store.transactions.run(migrate_meanwhile)


def test_migrate_waits_for_a_bounded_time_and_says_so(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(postgresql_url, EARLIER_TABLES)
    monkeypatch.setattr("receiver.storage.postgresql._LOCK_SECONDS", 1)
    with psycopg.connect(postgresql_url) as other:
        other.execute("SELECT * FROM alembic_version")
        with pytest.raises(StorageUnavailable, match="lock timeout"):
            migrate(postgresql_url)
    migrate(postgresql_url)


def test_to_migrate_begins_anew_where_a_service_waits_for_its_tables_and_it_for_those_of_the_service(postgresql_url: str) -> None:
    upgrade(postgresql_url, EARLIER_TABLES)
    name = Database(postgresql_url).url.database
    change(postgresql_url, f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '2s'")  # the migration is the first to notice
    with psycopg.connect(postgresql_url) as receiver, ThreadPoolExecutor(1) as pool:
        receiver.execute("SET deadlock_timeout = '60s'")
        receiver.execute("SELECT 1 FROM trackers")
        migrating = pool.submit(migrate, postgresql_url)
        wait_until(lambda: read_rows(postgresql_url, "SELECT 1 FROM pg_locks WHERE NOT granted"), "the migration waits")
        receiver.execute("SELECT 1 FROM events")
        receiver.commit()
        migrating.result(60)
    database = Database(postgresql_url)
    version.check(database)
    database.close()


def test_two_migrations_of_an_empty_database_at_once_make_the_tables_once(postgresql_url: str) -> None:
    together([lambda: migrate(postgresql_url)] * 3)
    database = Database(postgresql_url)
    version.check(database)
    database.close()


def test_a_file_is_not_migrated_while_another_process_writes_to_it(sqlite_url: str, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    make_tables(sqlite_url)
    change(sqlite_url, "UPDATE alembic_version SET version_num = '0030'")
    database.take()
    done = run_command("migrate", cwd=tmp_path, env=environment(sqlite_url))
    database.close()
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "already writes to" in done.stderr


def test_with_current_tables_a_migration_beside_the_service_does_nothing(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    done = run_command("migrate", cwd=running.directory, env=running.env)
    assert (done.returncode, done.stdout) == (0, f"{sqlite_url}: schema version {VERSION}\n")


# Commands


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_unknown_tables_are_refused_in_a_line_that_names_the_version_that_made_them(
    database_url: str, tmp_path: Path, command: str
) -> None:
    migrate(database_url)
    change(database_url, *NEWER)
    done = run_command(command, cwd=tmp_path, env=environment(database_url, port="0", ship24_tokens="the-token-of-these-tests"))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    for words in ("9998", "receiver 7.8.9", f"receiver {__version__}", VERSION, "restore a copy"):
        assert words in done.stderr
    assert "receiver migrate" not in done.stderr


def test_to_migrate_leaves_later_tables_on_which_the_program_works(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    change(database_url, *ADDITIVE)
    done = run_command("migrate", cwd=tmp_path, env=environment(database_url))
    assert (done.returncode, "9998" in done.stdout) == (0, True), done.stderr


def test_tables_of_no_known_version_are_not_migrated(database_url: str) -> None:
    migrate(database_url)
    change(database_url, "UPDATE alembic_version SET version_num = '0000_other'")
    database = Database(database_url)
    database.take()
    with pytest.raises(SchemaOutdated, match="0000_other"):
        schema.migrate(database)
    database.close()


# The version before, from git


def test_the_version_before_serves_while_the_tables_are_migrated_and_beside_the_new_one(
    service: StartService, postgresql_url: str, tmp_path: Path
) -> None:
    """On PostgreSQL. A SQLite file has one service, and 0.1.0 refuses to start on tables of another version."""
    prefix = earlier(tmp_path / "earlier")
    upgrade(postgresql_url, EARLIER_TABLES)
    old = Service(tmp_path / "old", postgresql_url, prefix, commit_timeout_seconds="60")
    with closing(old.start()), Senders(old, senders=4, pause_seconds=0.05) as traffic:
        traffic.wait_for_answers(100)
        done = run_command("migrate", cwd=tmp_path, env=environment(postgresql_url))
        assert done.returncode == 0, done.stderr
        traffic.wait_for_answers(200)
        new = service(postgresql_url, commit_timeout_seconds="60")
        with Senders(old, new, senders=4, parcels=traffic.parcels, pause_seconds=0.05) as both:
            both.wait_for_answers(300)
            traffic.stop()
            both.stop()
        assert set(traffic.statuses) | set(both.statuses) == {200}
        assert traffic.settle() == set()
    stands = {row["tracker_id"]: row["latest_event_id"] for row in new.table("trackers", "tracker_id", "latest_event_id")}
    assert stands == {tracker: event for tracker, (_, event) in traffic.parcels.newest.items()}
    assert new.count("quarantine") == 0
    check_whole(postgresql_url)
