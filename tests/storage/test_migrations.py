"""The tables in the database equal the models, and only migrations change them."""

import ast
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from receiver.errors import ConfigurationError
from receiver.storage import version
from receiver.storage.database import Database
from receiver.storage.tables.metadata import METADATA
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.postgresql import Cluster
from tests.harness.rows import table_rows
from tests.harness.service import environment
from tests.harness.storage import migrate
from tests.harness.store import opened, outcomes


def test_the_migrated_tables_are_those_of_the_models(database_url: str) -> None:
    migrate(database_url)
    database = Database(database_url)
    with database.read() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []
    database.close()


def test_the_migrated_tables_have_the_keys_and_indexes_of_the_models(database_url: str) -> None:
    migrate(database_url)
    database = Database(database_url)
    with database.read() as connection:
        found = inspect(connection)
        for name, table in METADATA.tables.items():
            assert found.get_pk_constraint(name)["constrained_columns"] == [column.name for column in table.primary_key]
            assert [c["name"] for c in found.get_columns(name)] == [column.name for column in table.columns]
            assert {c["name"]: c["nullable"] for c in found.get_columns(name)} == {c.name: c.nullable for c in table.columns}
            assert list_indexes(connection, name) == {index.name for index in table.indexes}
    database.close()


def list_indexes(connection: Connection, table: str) -> set[str | None]:
    if connection.dialect.name != "sqlite":
        return {index["name"] for index in inspect(connection).get_indexes(table)}
    made = text("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = :table")
    return set(connection.execute(made, {"table": table}).scalars())


def test_the_newest_migration_is_the_version_that_is_served() -> None:
    scripts = Path(version.__file__).parent / "migrations"
    assert ScriptDirectory(str(scripts)).get_heads() == [version.VERSION]


def test_to_migrate_twice_is_harmless_and_keeps_everything(database_url: str) -> None:
    migrate(database_url)
    with opened(database_url) as store:
        store.keep(ship24.single("kept"))
    migrate(database_url)
    with opened(database_url) as store:
        assert outcomes(store.keep(ship24.single("kept"))[0]) == ["duplicate"]


def test_the_command_migrates_and_may_be_repeated(database_url: str, tmp_path: Path) -> None:
    for _ in range(2):
        done = run_command("migrate", cwd=tmp_path, env=environment(database_url))
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    database = Database(database_url)
    version.check(database)
    database.close()


def test_to_serve_without_tables_is_refused_and_names_the_command(database_url: str, tmp_path: Path) -> None:
    env = environment(database_url, port="0", ship24_tokens="token")
    done = run_command("serve", cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert "receiver migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_migration_that_fails_leaves_the_tables_as_they_were(sqlite_url: str) -> None:
    path = Database(sqlite_url).path
    assert path is not None
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE trackers (something TEXT)")  # not ours: the migration meets it half way
    connection.close()
    with pytest.raises(Exception, match="trackers"):
        migrate(sqlite_url)
    with sqlite3.connect(path) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert tables - {"alembic_version"} == {"trackers"}


def test_an_unreachable_database_is_one_line_without_a_traceback_or_password(tmp_path: Path) -> None:
    url = "postgresql://someone:a-planted-password@127.0.0.1:1/nothing"
    for command in ("migrate", "serve"):
        done = run_command(command, cwd=tmp_path, env=environment(url, port="0", ship24_tokens="token"))
        assert done.returncode in {1, 2}
        assert "Traceback" not in done.stderr
        assert "a-planted-password" not in done.stderr + done.stdout
        assert "127.0.0.1" in done.stderr


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_every_command_refuses_a_database_that_is_not_utf_8(cluster: Cluster, tmp_path: Path, encoding: str) -> None:
    name = f"encoded_{encoding.lower()}"
    cluster.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE 'C' ENCODING '{encoding}'")
    url = f"postgresql://postgres@127.0.0.1:{cluster.port}/{name}"
    for command in (("migrate",), ("serve",), ("trackers", "list"), ("setup-window", "ship24", "--minutes", "5")):
        done = run_command(*command, cwd=tmp_path, env=environment(url, port="0", ship24_tokens="the-token-of-these-tests"))
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert encoding in done.stderr
        assert "UTF8" in done.stderr
    cluster.drop_database(name)


def test_a_client_encoding_that_the_database_sets_is_overruled(cluster: Cluster, postgresql_url: str) -> None:
    migrate(postgresql_url)
    name = Database(postgresql_url).url.database
    cluster.execute(f"ALTER DATABASE \"{name}\" SET client_encoding = 'LATIN1'")
    with opened(postgresql_url) as store:
        kept = store.keep(ship24.single("m", events=[ship24.event(status="\u5230\u8fbe \N{PACKAGE}")]))
        assert outcomes(kept[0]) == ["applied"]
    (row,) = table_rows(postgresql_url, "trackers", "status")
    assert row["status"] == "\u5230\u8fbe \N{PACKAGE}"


def test_another_encoding_in_the_url_is_refused(postgresql_url: str) -> None:
    with pytest.raises(ConfigurationError, match="client_encoding"):
        migrate(f"{postgresql_url}?client_encoding=latin1")


def test_every_table_is_defined_in_one_room_and_known_to_whoever_takes_the_metadata() -> None:
    """In an interpreter of its own: here tests have imported everything."""
    storage = Path(version.__file__).parent
    classes = {
        (file.parent.name, node.name)
        for file in storage.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and any(keyword.arg == "table" for keyword in node.keywords)
    }
    assert {folder for folder, _ in classes} == {"tables"}
    program = """
from receiver.storage.tables.metadata import METADATA, Table
print(*METADATA.tables)
print(*(model.__name__ for model in Table.__subclasses__()))
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    tables, models = (set(line.split()) for line in shown.stdout.splitlines())
    assert models == {name for _, name in classes}
    assert tables == set(METADATA.tables)
