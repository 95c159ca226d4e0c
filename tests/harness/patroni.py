"""A PostgreSQL cluster that Patroni manages: three servers and etcd, one server on a host that can vanish."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString
from urllib.request import urlopen

import orjson
import psycopg
from psycopg import OperationalError

from tests.harness.isolated_host import IsolatedHost
from tests.harness.ports import free_port
from tests.harness.postgresql import find_binaries
from tests.harness.service import DEADLINE_SECONDS, wait_until

_ACCOUNT = "postgres"
_START_SECONDS = 180.0
_DYNAMIC = {
    "ttl": 30,
    "loop_wait": 10,
    "retry_timeout": 10,
    "synchronous_mode": True,
    "synchronous_mode_strict": True,
    "postgresql": {"use_pg_rewind": True, "parameters": {"max_connections": 100}},
}
"""Patroni's own defaults for the times; a commit waits for a second server, and is never finished on one alone."""


def find_missing() -> str | None:
    """Return the name of the first program that is not installed, or None."""
    for name in ("etcd", "patroni"):
        if shutil.which(name) is None:
            return name
    return None if find_binaries() else "PostgreSQL"


class Member:
    """One server with its Patroni, on the given address."""

    def __init__(self, name: str, folder: Path, address: str, etcd: str, prefix: tuple[str, ...] = ()) -> None:
        self.name = name
        self.address = address
        self.port = free_port()
        self._api = free_port()
        self._data = folder / name
        self._prefix = prefix
        self._log = folder / f"{name}.log"
        self._file = folder / f"{name}.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._file.write_bytes(orjson.dumps(self._configuration(folder, etcd)))  # JSON is YAML

    def start(self) -> None:
        """Start Patroni, which makes or copies the data and starts the server."""
        account = ["runuser", "-u", _ACCOUNT, "--"] if os.geteuid() == 0 else []
        with self._log.open("ab") as log:
            command = [*self._prefix, *account, "patroni", str(self._file)]
            self._process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log)

    def wait_until_running(self, role: str) -> None:
        """Wait until Patroni reports that the server runs with this role (`master` or `replica`)."""
        wait_until(lambda: self.status() == ("running", role), f"{self.name} runs as {role}", _START_SECONDS)

    def status(self) -> tuple[str, str]:
        """Return Patroni's words for the state and the role; empty if it does not answer."""
        try:
            with urlopen(f"http://{self.address}:{self._api}/patroni", timeout=2) as answer:
                told = orjson.loads(answer.read())
        except OSError as error:
            read = getattr(error, "read", None)  # 503 while it is no primary
            if read is None:
                return "", ""
            told = orjson.loads(read())
        return str(told.get("state", "")), str(told.get("role", ""))

    def execute(self, statement: LiteralString) -> str:
        """Run one statement and return its first value, if it has one."""
        with psycopg.connect(f"postgresql://postgres@{self.address}:{self.port}/postgres", autocommit=True) as connection:
            cursor = connection.execute(statement)
            return "" if cursor.description is None else str(cursor.fetchall()[0][0])

    def end(self) -> None:
        """End Patroni and the server at once."""
        if self._process is not None:
            for number in _descendants(self._process.pid):
                _kill(number)
            self._process.kill()
            self._process.wait(DEADLINE_SECONDS)
        file = self._data / "postmaster.pid"
        if file.exists():
            _kill(int(file.read_text(encoding="ascii").split("\n", 1)[0]))

    def _configuration(self, folder: Path, etcd: str) -> dict[str, Any]:
        api = f"{self.address}:{self._api}"
        trust = [f"host {database} all all trust" for database in ("all", "replication")]
        binaries = find_binaries()
        return {
            "scope": "receiver",
            "name": self.name,
            "restapi": {"listen": api, "connect_address": api},
            "etcd3": {"hosts": [etcd]},
            "bootstrap": {
                "dcs": _DYNAMIC,
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, {"auth": "trust"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"{self.address}:{self.port}",
                "connect_address": f"{self.address}:{self.port}",
                "data_dir": str(self._data),
                "bin_dir": str(binaries),
                "pg_hba": ["local all all trust", *trust],
                "authentication": {role: {"username": _ACCOUNT} for role in ("superuser", "replication", "rewind")},
                "parameters": {"unix_socket_directories": str(folder)},
            },
        }


class PatroniCluster:
    """The members, the first on the host that can vanish."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members

    @property
    def url(self) -> str:
        """Return the URL of a database that names all servers."""
        return f"postgresql://postgres@{','.join(f'{member.address}:{member.port}' for member in self.members)}/faulty"

    def wait_for_standby(self, primary: Member) -> None:
        """Wait until a commit of this primary waits for a standby that is there."""
        count = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_until(lambda: _asked(primary, count) == "1", f"{primary.name} has a synchronous standby", _START_SECONDS)

    def wait_for_primary(self, *, other_than: Member) -> Member:
        """Wait until another server is the primary, and return it."""
        rest = [member for member in self.members if member is not other_than]

        def promoted() -> list[Member]:
            return [member for member in rest if member.status() == ("running", "master")]

        wait_until(lambda: promoted() != [], "a standby is promoted", _START_SECONDS)
        return promoted()[0]


@contextmanager
def patroni_cluster(folder: Path, own_host: IsolatedHost) -> Iterator[PatroniCluster]:
    """Give a cluster with an empty database; its first member, the primary, runs on `own_host`."""
    if os.geteuid() == 0:
        shutil.chown(folder, _ACCOUNT, _ACCOUNT)
    with ExitStack() as stack:
        etcd = stack.enter_context(_running_etcd(folder, own_host.neighbour))
        places = [("one", own_host.address, own_host.prefix), ("two", own_host.neighbour, ()), ("three", own_host.neighbour, ())]
        cluster = PatroniCluster([Member(name, folder, address, etcd, prefix) for name, address, prefix in places])
        for place, member in enumerate(cluster.members):
            stack.callback(member.end)
            member.start()
            if not place:
                member.wait_until_running("master")
        for member in cluster.members[1:]:
            member.wait_until_running("replica")
        primary = cluster.members[0]
        cluster.wait_for_standby(primary)
        primary.execute("CREATE DATABASE faulty")
        yield cluster


@contextmanager
def _running_etcd(folder: Path, address: str) -> Iterator[str]:
    """Give the address of a single etcd for this machine and the host beside it."""
    clients, peers = f"http://{address}:{free_port()}", f"http://127.0.0.1:{free_port()}"
    command = ["etcd", "--data-dir", str(folder / "etcd"), "--listen-client-urls", clients, "--advertise-client-urls", clients]
    command += ["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"]
    with (folder / "etcd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_healthy(clients), "etcd answers")
        yield clients.removeprefix("http://")
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)


def _is_healthy(clients: str) -> bool:
    try:
        with urlopen(f"{clients}/health", timeout=2) as answer:
            return b'"true"' in answer.read()
    except OSError:
        return False


def _asked(member: Member, statement: LiteralString) -> str:
    try:
        return member.execute(statement)
    except OperationalError:
        return ""


def _descendants(number: int) -> list[int]:
    children = Path(f"/proc/{number}/task/{number}/children")
    try:
        direct = [int(child) for child in children.read_text(encoding="ascii").split()]
    except OSError:
        return []
    return [*direct, *(found for child in direct for found in _descendants(child))]


def _kill(number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
