"""PostgreSQL for the benchmark: a server that may stay in its folder until the next run, and whose syncs may be slowed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.isolated_host import IsolatedHost
from tests.harness.ports import free_port
from tests.harness.postgresql import Cluster, find_binaries


class BenchCluster(Cluster):
    """One server. `runner` is a program that runs the server's, whose path and arguments it gets."""

    def __init__(self, binaries: Path, directory: Path, port: int, own_host: IsolatedHost | None = None) -> None:
        super().__init__(binaries, directory, port, own_host)
        self.directory = directory
        self.runner: Path | None = None

    @classmethod
    def open(cls, directory: Path) -> "BenchCluster":
        """Return the cluster in a folder, which is made if it is not there."""
        binaries = find_binaries()
        if binaries is None or not (directory / "data" / "PG_VERSION").exists():
            cls.create(directory)
        assert binaries is not None
        cluster = cls(binaries, directory, free_port())
        cluster._configure()  # the port that it had may be taken; of two lines the later one holds
        return cluster

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        if self.runner is None:
            super().start()
            return
        program = ("-p", str(self.runner))
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._directory / "log"), "-w", "-t", "60", *program, "start")

    @property
    def program(self) -> Path:
        """The server's executable."""
        return self._binaries / "postgres"


@contextmanager
def running(directory: Path, *, kept: bool) -> Iterator[BenchCluster]:
    """Run a server in `directory`, if its account can get there; otherwise somewhere else, where it never stays."""
    if kept and is_open(directory):
        cluster = BenchCluster.open(directory / "postgresql")
        with _started(cluster):
            yield cluster
        return
    with tempfile.TemporaryDirectory(prefix="bench-", dir=directory if is_open(directory) else "/var/tmp") as place:
        Path(place).chmod(0o755)
        cluster = BenchCluster.open(Path(place) / "postgresql")
        with _started(cluster):
            yield cluster


@contextmanager
def _started(cluster: BenchCluster) -> Iterator[None]:
    cluster.stop()  # a run that was killed left it
    try:
        cluster.start()
        yield
    finally:
        cluster.stop()


def is_open(directory: Path) -> bool:
    """Tell whether other accounts can reach a folder: as root, the server runs under its own."""
    return os.geteuid() != 0 or all(path.stat().st_mode & 0o001 for path in (directory, *directory.parents))
