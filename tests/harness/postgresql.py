"""PostgreSQL servers with their own directories and ports; one can follow another."""

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

from tests.harness.isolated_host import IsolatedHost
from tests.harness.ports import free_port

_INSTALLED = Path("/usr/lib/postgresql")  # where Debian puts each major version
_TIMEOUT_SECONDS = 120  # a commit may wait for a standby for ever
_ACCOUNT = "postgres"  # the account that Debian makes for the server, which refuses to run as root
_CHOICE = "TEST_POSTGRESQL"  # a variable with the folder of another server's programs
TABLES = "tables_plain"
"""A database of each server with our tables, to be copied."""


def find_binaries() -> Path | None:
    """Return the chosen folder, or the one with the newest `initdb`; None if PostgreSQL is not installed."""
    if chosen := os.environ.get(_CHOICE):
        return Path(chosen).absolute()
    found = [path.parent for path in _INSTALLED.glob("*/bin/initdb") if path.parent.parent.name.isdigit()]
    if found:
        return max(found, key=lambda folder: int(folder.parent.name))
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).resolve().parent if elsewhere else None


class Cluster:
    """One server. `create` makes it, `start` and `stop` run it; it listens on 127.0.0.1 and trusts everybody there.

    With a host of its own it listens on that host's address, too.
    """

    def __init__(self, binaries: Path, directory: Path, port: int, own_host: IsolatedHost | None = None) -> None:
        self.host = "127.0.0.1" if own_host is None else own_host.address
        self._prefix = () if own_host is None else own_host.prefix
        self._binaries = binaries
        self._data = directory / "data"
        self._directory = directory
        self.port = port

    @classmethod
    def create(cls, directory: Path, *options: str, own_host: IsolatedHost | None = None) -> "Cluster":
        """Make a new cluster in `directory`, with `options` for initdb, or else with a template of our tables (`database_pool`).

        As root, the folder is given to `postgres` and must be reachable for it.
        """
        cluster = cls._prepare(directory, own_host)
        if options:
            cluster._initialize(*options)
        else:
            subprocess.run(["cp", "--archive", _prepared_data(cluster._binaries), cluster._data], check=True)
        cluster._configure()
        return cluster

    @classmethod
    def create_template(cls, directory: Path) -> Path:
        """Make the files of a cluster with the template, and return their folder: it is copied ten times as quickly as made."""
        from tests.harness.storage import migrate  # noqa: PLC0415  it imports this module

        cluster = cls._prepare(directory)
        cluster._initialize()
        cluster._configure()
        cluster.start()
        try:
            migrate(cluster.create_database(TABLES))
        finally:
            cluster.stop()
        return cluster._data

    @classmethod
    def follow(cls, primary: "Cluster", directory: Path) -> "Cluster":
        """Make a copy of a running cluster in `directory` that follows it, once started, by streaming replication."""
        cluster = cls._prepare(directory)
        address = f"host={primary.host} port={primary.port} user=postgres"
        cluster._run("pg_basebackup", "-d", address, "-R", "-X", "stream", "-c", "fast", *cluster._place)
        cluster._configure()
        return cluster

    @classmethod
    def _prepare(cls, directory: Path, own_host: IsolatedHost | None = None) -> "Cluster":
        binaries = find_binaries()
        if binaries is None:
            raise FileNotFoundError("PostgreSQL is not installed: no initdb below /usr/lib/postgresql or on the PATH")
        directory.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            _give_away(directory)
        return cls(binaries, directory, free_port(), own_host)

    def _initialize(self, *options: str) -> None:
        given = ("--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", *options)
        self._run("initdb", *given, *self._place)

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        self._run("pg_ctl", *self._place, "-l", str(self._directory / "log"), "-w", "-t", "60", "start")

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server if it runs; `immediate` is what a crash looks like."""
        if self.is_running():
            self._run("pg_ctl", *self._place, "-m", mode, "-w", "-t", "60", "stop")

    def is_running(self) -> bool:
        """Tell whether there is a server on this directory."""
        return self._run("pg_ctl", *self._place, "status", check=False).returncode == 0

    def promote(self) -> None:
        """Let a follower become a primary, and wait until it takes writes."""
        self._run("pg_ctl", *self._place, "-w", "-t", "60", "promote")

    def configure(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        self.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.execute("SELECT pg_reload_conf()")

    def sorts_by_language(self) -> bool:
        """Tell whether the server was built with ICU, as those of distributions are."""
        return self.execute("SELECT count(*) FROM pg_collation WHERE collname = 'en-x-icu'") != "0"

    def create_database(self, name: str, icu_locale: str | None = None) -> str:
        """Make an empty database and return its URL. It sorts text by code points, or as people of `icu_locale` do."""
        sorting = f" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE '{icu_locale}'" if icu_locale else ""
        self.execute(f'CREATE DATABASE "{name}"{sorting}')
        return self._url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def dump_database(self, name: str, file: Path) -> None:
        """Copy a database into a file, as the guide says. The server's account must be able to write there."""
        self._run("pg_dump", "--format=custom", f"--file={file}", self._url(name))

    def restore_database(self, name: str, file: Path) -> None:
        """Put the copy in the place of a database that exists, as the guide says."""
        self._run("pg_restore", "--clean", "--if-exists", f"--dbname={self._url(name)}", str(file))

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run one statement with psql and return what it prints, without decoration."""
        target = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database)
        return self._run("psql", *target, "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", statement).stdout.strip()

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@{self.host}:{self.port}/{database}"

    @property
    def _place(self) -> tuple[str, str]:
        return "-D", str(self._data)

    def _configure(self) -> None:
        lines = (
            f"listen_addresses = '{','.join({'127.0.0.1', self.host})}'",
            f"port = {self.port}",
            f"unix_socket_directories = '{self._directory}'",
            "max_connections = 200",
        )
        with (self._data / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        with (self._data / "pg_hba.conf").open("a", encoding="utf-8") as file:
            file.write("host all all samenet trust\nhost replication all samenet trust\n")

    def _run(self, name: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(self._binaries / name), *arguments]
        if os.geteuid() == 0:
            command = [*self._prefix, "runuser", "-u", _ACCOUNT, "--", *command]
        with (self._directory / "output").open("w+b") as output:  # not a pipe: a server that was started would hold it open
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                check=False,
                timeout=_TIMEOUT_SECONDS,
            )
            output.seek(0)
            text = output.read().decode(errors="replace")
        if check and done.returncode != 0:
            raise RuntimeError(f"{name} ended with {done.returncode}: {text.strip()}")
        return subprocess.CompletedProcess(command, done.returncode, text)


@cache
def _prepared_data(binaries: Path) -> Path:
    """Return the files of a cluster that this process copies for each new one."""
    directory = Path(tempfile.mkdtemp(prefix="receiver-postgresql-"))
    directory.chmod(0o755)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Cluster.create_template(directory / "cluster")


def _give_away(directory: Path) -> None:
    shutil.chown(directory, _ACCOUNT, _ACCOUNT)
    directory.chmod(0o755)


@contextmanager
def folder_for_servers() -> Iterator[Path]:
    """Give a folder that the server's account can reach, and remove it."""
    directory = Path(tempfile.mkdtemp(prefix="receiver-postgresql-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def running_cluster(directory: Path, *options: str, own_host: IsolatedHost | None = None) -> Iterator[Cluster]:
    """Give a new server that runs until the block ends, however often it was stopped and started in between."""
    cluster = Cluster.create(directory, *options, own_host=own_host)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop("immediate")


@contextmanager
def following_cluster(primary: Cluster, directory: Path) -> Iterator[Cluster]:
    """Give a synchronous standby of a server until the block ends: a commit there is one here."""
    standby = Cluster.follow(primary, directory)
    try:
        standby.start()
        primary.configure("synchronous_standby_names", "*")
        yield standby
    finally:
        standby.stop("immediate")
