"""`python -m tests.bench.upgrade` prints how long `receiver migrate` takes on a large database of the first version."""

import argparse
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from receiver.storage.database import Database
from receiver.storage.tables.metadata import METADATA
from receiver.storage.version import VERSION
from tests.bench import filling, machine, report
from tests.bench.page import write_table
from tests.harness.earlier_version import EARLIER_TABLES, upgrade
from tests.harness.postgresql import Cluster, find_binaries, running_cluster
from tests.harness.rows import count_rows
from tests.harness.service import environment
from tests.harness.storage import make_tables

TITLE = "Upgrade from the first version"
_MILLION = 1_000_000
_WHERE = Path("/var/tmp")  # accounts other than ours reach it: the server has one of its own
_COUNTED = ("deliveries", "messages", "events", "trackers")


class Upgraded(NamedTuple):
    """A database of the first version after `receiver migrate`: its rows, its size before and after, the time."""

    name: str
    rows: int
    bytes_before: int
    bytes_after: int
    seconds: float


def measure(messages: int, folder: Path) -> Iterator[Upgraded]:
    """Migrate a SQLite file and a PostgreSQL database with so many messages. Raises ValueError if a row is lost."""
    file = folder / "earlier.db"
    make_earlier(messages, file)
    with _server(folder) as cluster:
        if cluster is not None:
            url = cluster.create_database("earlier")
            upgrade(url, EARLIER_TABLES)
            filling.copy(file, url)
        yield _migrate("SQLite", f"sqlite:///{file}")
        if cluster is not None:
            yield _migrate("PostgreSQL", url)


def make_earlier(messages: int, file: Path) -> None:
    """Make a SQLite database of the first version: the rows are those of a database of today, without what is new in it."""
    today = file.with_name("today.db")
    make_tables(f"sqlite:///{today}")
    filling.fill(today, messages, file.with_name("known"))
    upgrade(f"sqlite:///{file}", EARLIER_TABLES)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        filling.add_functions(connection)
        connection.execute("ATTACH ? AS today", (str(today),))
        connection.execute("BEGIN")
        for table in _names(connection, "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name <> 'alembic_version'"):
            ours, theirs = (
                _names(connection, f"SELECT name FROM {schema}.pragma_table_info('{table}')") for schema in ("main", "today")
            )
            names = [name for name in ours if name in theirs]
            columns = ", ".join(f'"{name}"' for name in names)
            values = ", ".join(filling.write_text(name, METADATA.tables[table].columns[name].type) for name in names)
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {values} FROM today.{table}")
        connection.execute("COMMIT")
    today.unlink()


def _names(connection: sqlite3.Connection, query: str) -> list[str]:
    return [name for (name,) in connection.execute(query)]


@contextmanager
def _server(folder: Path) -> Iterator[Cluster | None]:
    """Give a PostgreSQL server as it is installed, if there is one."""
    if find_binaries() is None:
        yield None
        return
    with running_cluster(folder / "postgresql") as cluster:
        yield cluster


def _migrate(name: str, url: str) -> Upgraded:
    rows, before = {table: count_rows(url, table) for table in _COUNTED}, _size(url)
    began = monotonic()
    subprocess.run(
        [sys.executable, "-m", "receiver", "migrate"], env=environment(url), stdout=subprocess.DEVNULL, check=True, cwd="/"
    )
    seconds = monotonic() - began
    if (found := {table: count_rows(url, table) for table in _COUNTED}) != rows:
        raise ValueError(f"{name}: {rows} before, {found} after")
    return Upgraded(name, sum(rows.values()), before, _size(url), seconds)


def _size(url: str) -> int:
    with closing(Database(url)) as database:
        return database.size_bytes()


def make_table(found: Sequence[Upgraded]) -> Table:
    """Return the table of the report."""
    table = report.make_table(("database",), ("rows", "GB before", "GB after", "seconds"))
    for each in found:
        sizes = (f"{size / 1e9:.2f}" for size in (each.bytes_before, each.bytes_after))
        table.add_row(each.name, f"{each.rows:,}", *sizes, f"{each.seconds:.0f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=_MILLION, help="in the database before (default: a million)")
    parser.add_argument("--where", type=Path, default=_WHERE, help="folder for the databases, about 8 GB")
    parser.add_argument("--write", action="store_true", help="write the table into the page Benchmarks")
    options = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="receiver-upgrade-", dir=options.where) as name:
        Path(name).chmod(0o755)
        facts = report.machine_table(list(machine.describe(Path(name))))
        found = list(measure(options.messages, Path(name)))
    told = f"{options.messages:,} messages; from tables of version {EARLIER_TABLES} to {VERSION}"
    console.print(facts, make_table(found), told, sep="\n")
    if options.write:
        write_table(TITLE, make_table(found), told, "", facts)


if __name__ == "__main__":
    main()
