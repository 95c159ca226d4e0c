"""The databases of a run: a fresh folder with one of each kind, or a large database that is made once."""

import hashlib
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench import filling, service
from tests.bench.cluster import BenchCluster

_SQLITE_BYTES = 3200  # by message, while the file is filled: rows, indexes, and what is sorted beside it
_POSTGRESQL_BYTES = 2800
_USED = ("messages", "events", "trackers")  # each delivery reads random keys of them
_SQLITE_INDEXES = "SELECT name FROM pragma_index_list(?) WHERE NOT partial"
_POSTGRESQL_INDEXES = (
    "SELECT sum(pg_prewarm(indexrelid::regclass, 'read')) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid "
    f"WHERE relname IN {_USED}"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A database, and a folder for all else. `known` names the trackers that `filling` made there."""

    directory: Path
    url: str
    cluster: BenchCluster | None = None
    known: Path | None = None

    def ask(self, query: str) -> str:
        """Return the one value of a query as text; empty if it is NULL."""
        if self.cluster is not None:
            return self.cluster.execute(query, self.url.rpartition("/")[2])
        with closing(sqlite3.connect(self.directory / "bench.db")) as connection:
            value = connection.execute(query).fetchone()[0]
        return "" if value is None else str(value)

    def with_living(self) -> "Place":
        """Return the same with those trackers alone that are still going."""
        assert self.known is not None
        return replace(self, known=filling.living(self.known))

    def read_indexes(self) -> None:
        """Read from the disk once what every delivery looks up: a running service has it in memory after a while."""
        if self.cluster is not None:
            database = self.url.rpartition("/")[2]
            self.cluster.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm", database)
            self.cluster.execute(f"{_POSTGRESQL_INDEXES}; SELECT count(shipment) FROM trackers", database)
            return
        with closing(sqlite3.connect(self.directory / "bench.db")) as connection:
            for table in _USED:
                for (index,) in connection.execute(_SQLITE_INDEXES, (table,)).fetchall():
                    connection.execute(f"SELECT count(*) FROM {table} INDEXED BY {index}").fetchone()
            connection.execute("SELECT count(shipment) FROM trackers").fetchone()


class Places:
    """Makes places below `directory`. Large databases hold `large` messages; they stay in `kept`, if that is given, for the next
    run.
    """

    def __init__(self, directory: Path, cluster: BenchCluster | None, large: int, kept: Path | None = None) -> None:
        self.directory = directory
        self.cluster = cluster
        self.large = large
        self._kept = kept or directory

    @contextmanager
    def fresh(self, *, on_postgresql: bool) -> Iterator[Place]:
        """Give an empty place and remove it again."""
        cluster = self.cluster if on_postgresql else None
        directory = self.directory / f"run-{secrets.token_hex(4)}"
        directory.mkdir()
        database = f"bench_{secrets.token_hex(4)}"
        try:
            url = f"sqlite:///{directory}/bench.db" if cluster is None else cluster.create_database(database)
            yield Place(directory, url, cluster)
        finally:
            if cluster is not None:
                cluster.drop_database(database)
            shutil.rmtree(directory)

    def filled(self, *, on_postgresql: bool, most: int | None = None) -> Place:
        """Return the place with the large database, which is made if it is not there; a run adds to it what it sends.

        It has at most `most` messages, if that is given.
        """
        mark = hashlib.sha256(filling.SCRIPT.read_bytes()).hexdigest()[:8]
        messages = self.large if most is None else min(most, self.large)
        file = self._fill(self._kept / f"large-{messages}-{mark}", messages)
        return self._copy(file, f"large_{messages}_{mark}") if on_postgresql else file

    def _fill(self, directory: Path, messages: int) -> Place:
        place = Place(directory, f"sqlite:///{directory}/bench.db", known=directory / "known")
        if place.known is not None and not place.known.exists():
            shutil.rmtree(directory, ignore_errors=True)  # what was begun and not finished
            directory.mkdir(parents=True)
            _check_room(directory, messages * _SQLITE_BYTES)
            _migrate(place)
            filling.fill(directory / "bench.db", messages, place.known)
        _migrate(place)
        return place

    def _copy(self, file: Place, name: str) -> Place:
        cluster = self.cluster
        assert cluster is not None
        place = Place(file.directory, f"postgresql://postgres@127.0.0.1:{cluster.port}/{name}", cluster, file.known)
        if not cluster.execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            _check_room(cluster.directory, self.large * _POSTGRESQL_BYTES)
            cluster.drop_database(f"{name}_begun")
            begun = Place(file.directory, cluster.create_database(f"{name}_begun"), cluster)
            _migrate(begun)
            filling.copy(file.directory / "bench.db", begun.url)
            cluster.execute(f"ALTER DATABASE {name}_begun RENAME TO {name}")
        _migrate(place)
        return place


def _migrate(place: Place) -> None:
    service.run(["receiver", "migrate"], {"RECEIVER_DATABASE_URL": place.url}, place.directory)


def _check_room(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed:
        sizes = f"{needed / 1e9:.0f} GB are needed in {directory}, {free / 1e9:.0f} GB are free"
        raise SystemExit(f"{sizes}: name another folder with --keep or --directory, or fewer messages with --large")
