"""Resources that stored messages take: CPU, disk writes, WAL, network, room on the disk."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.harness.network import Machine
from tests.harness.postgresql import Cluster
from tests.harness.service import Service

_BODIES = "bodies"
_ON_SERVER = (
    "SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class "
    "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)
_IN_FILE = (
    "SELECT tbl_name, sum(pgsize * (type = 'table')), sum(pgsize * (type = 'index')) "
    "FROM dbstat CROSS JOIN sqlite_master USING (name) GROUP BY tbl_name"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds of CPU, and bytes, since the processes began; rows and bytes that are there now.

    `rows_bytes` are all tables but the bodies; `written_bytes` is what went to the disk, several times over for pages that are
    written often; `network_bytes` is all that went over loopback.
    """

    messages: float
    service_seconds: float
    writer_seconds: float
    server_seconds: float
    written_bytes: float
    wal_bytes: float
    network_bytes: float
    bodies_bytes: float
    rows_bytes: float
    index_bytes: float

    def since(self, before: "Reading") -> "Reading":
        return Reading(*(getattr(self, field.name) - getattr(before, field.name) for field in fields(self)))

    def each(self) -> "Reading":
        """Return the same for one message."""
        return Reading(*(getattr(self, field.name) / self.messages for field in fields(self)))

    @property
    def cpu_seconds(self) -> float:
        return self.service_seconds + self.writer_seconds + self.server_seconds


def read(machine: Machine, service: Service, cluster: Cluster | None) -> Reading:
    """Read all meters of a running service, whose database is a file or on a server of its own."""
    assert service.process is not None
    own = [_use_of(psutil.Process(service.process.pid)), _use_of(service.writer())]
    server = list(_uses(cluster)) if cluster is not None else []
    bodies, rows, indexes = _sizes(service, cluster)
    return Reading(
        messages=service.scalar("SELECT count(*) FROM messages"),
        service_seconds=own[0].seconds,
        writer_seconds=own[1].seconds,
        server_seconds=sum(use.seconds for use in server),
        written_bytes=sum(use.written_bytes for use in (*own, *server)),
        wal_bytes=float(cluster.execute("SELECT pg_current_wal_lsn() - '0/0'")) if cluster is not None else 0,
        network_bytes=machine.do(_loopback_bytes),
        bodies_bytes=bodies,
        rows_bytes=rows,
        index_bytes=indexes,
    )


class _Use(NamedTuple):
    """What one process has used, with those of its children that have ended."""

    seconds: float
    written_bytes: float


def _use_of(process: psutil.Process) -> _Use:
    times = process.cpu_times()
    seconds = times.user + times.system + times.children_user + times.children_system
    return _Use(seconds, process.io_counters().write_bytes)  # the kernel counts the children there itself


def _uses(cluster: Cluster) -> Iterator[_Use]:
    """Give what the server's processes have used; one that ends meanwhile is counted as a child the next time."""
    pid = int(cluster.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"))
    first = psutil.Process(pid).parent()
    assert first is not None
    yield _use_of(first)
    for process in first.children():
        with suppress(psutil.NoSuchProcess):
            yield _use_of(process)


def _loopback_bytes() -> float:
    """Return the bytes that the loopback device of this thread's machine has received, which equal those sent."""
    lines = Path("/proc/thread-self/net/dev").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.split()[0] == "lo:")


def _sizes(service: Service, cluster: Cluster | None) -> tuple[float, float, float]:
    """Return the bytes of bodies, of all other rows, and of indexes."""
    tables: Mapping[str, tuple[int, int]]
    if cluster is not None:
        printed = cluster.execute(_ON_SERVER, service.database_url.rpartition("/")[2]).splitlines()
        tables = {name: (int(rows), int(indexes)) for name, rows, indexes in (line.split("|") for line in printed)}
    else:
        with closing(sqlite3.connect(service.database_url.removeprefix("sqlite:///"))) as file:
            tables = {name: (rows, indexes) for name, rows, indexes in file.execute(_IN_FILE)}
    bodies = tables[_BODIES][0]
    return bodies, sum(rows for rows, _ in tables.values()) - bodies, sum(indexes for _, indexes in tables.values())
