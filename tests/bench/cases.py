"""What is compared: which service, on which database, called how."""

import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import bare, load, service
from tests.bench.filling import fill
from tests.harness.ports import free_port
from tests.harness.postgresql import Cluster

_WARM_UP_SECONDS = 1
_WEBHOOK = "/webhooks/ship24"


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table. `large` is the number of messages that the database has before."""

    letter: str
    name: str
    service: str
    on_postgresql: bool = False
    updates: int = 1
    large: int = 0

    @property
    def key(self) -> str:
        """What tells the cases apart, in words."""
        marks = {"postgresql": self.on_postgresql, "grouped": self.updates > 1, "large": self.large}
        return " ".join([self.service, *(word for word, holds in marks.items() if holds)])


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of a case showed."""

    calls_per_second: float
    updates_per_second: float
    p50_ms: float
    p99_ms: float
    memory_bytes: int
    failed: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one run keeps things. `ledger` is the table with a row for each message."""

    directory: Path
    url: str
    ledger: str
    cluster: Cluster | None

    def count(self) -> int:
        """Return how many messages are kept."""
        query = f"SELECT count(*) FROM {self.ledger}"
        if self.cluster is not None:
            return int(self.cluster.execute(query, self.url.rpartition("/")[2]))
        with closing(sqlite3.connect(self.directory / "bench.db")) as connection:
            return int(connection.execute(query).fetchone()[0])


class Runner:
    """Runs cases, each in a fresh place below `directory`; the large database is made once. Without a cluster: SQLite only."""

    def __init__(self, directory: Path, cluster: Cluster | None, seconds: int) -> None:
        self._directory = directory
        self._cluster = cluster
        self.seconds = seconds

    def run(self, case: Case) -> Figures:
        """Start the service, warm it up, load it, end it, and see that all that was answered 2xx is kept."""
        token, port = secrets.token_urlsafe(32), free_port()
        with self._place(case) as place:
            settings = _settings(case, place.url, token, port)
            if case.service != "usual":
                service.run(["receiver", "migrate"], settings, place.directory)
            known = self._fill(case, place) if case.large else None
            before = place.count() if case.large else 0
            url = f"http://127.0.0.1:{port}{bare.PATH if case.service == 'bare' else _WEBHOOK}"
            with service.serving(_ARGUMENTS[case.service], settings, place.directory, port) as memory:
                warm = load.send(url, token, _WARM_UP_SECONDS, case.updates, known)
                main = load.send(url, token, self.seconds, case.updates, known)
                memory_bytes = memory.stop()
            if case.service != "bare":
                _check(case, place.count() - before, (warm.calls + main.calls - warm.failed - main.failed) * case.updates)
        rate = main.calls / main.seconds
        return Figures(rate, rate * case.updates, main.p50_ms, main.p99_ms, memory_bytes, main.failed)

    @contextmanager
    def _place(self, case: Case) -> Iterator[_Place]:
        ledger = "message" if case.service == "usual" else "messages"
        directory = self._directory / (f"large-{case.large}" if case.large else "run")
        directory.mkdir(exist_ok=bool(case.large))
        database = f"bench_{secrets.token_hex(4)}"
        cluster = self._cluster if case.on_postgresql else None
        try:
            if cluster is not None:
                yield _Place(directory, cluster.create_database(database), ledger, cluster)
            else:
                yield _Place(directory, f"sqlite:///{directory}/bench.db", ledger, None)
        finally:
            if cluster is not None:
                cluster.drop_database(database)
            if not case.large:
                shutil.rmtree(directory)

    def _fill(self, case: Case, place: _Place) -> Path:
        known = place.directory / "known"
        if not known.exists():
            fill(place.directory / "bench.db", case.large, known)
        return known


_ARGUMENTS = {
    "bare": ["tests.bench.bare"],
    "usual": ["tests.bench.usual_handler"],
    "ours": ["receiver", "serve"],
}


def _settings(case: Case, url: str, token: str, port: int) -> Mapping[str, str]:
    if case.service == "usual":
        return {"DATABASE_URL": url.replace("postgresql://", "postgresql+psycopg://"), "TOKEN": token, "PORT": str(port)}
    return {
        "RECEIVER_DATABASE_URL": url,
        "RECEIVER_SHIP24_TOKENS": token,
        "RECEIVER_SHIP24_ALLOWED_IPS": "127.0.0.0/8",
        "RECEIVER_PORT": str(port),
    }


def _check(case: Case, kept: int, answered: int) -> None:
    if kept < answered:
        raise RuntimeError(f"{case.name}: {answered} updates were answered 2xx, only {kept} are kept")
