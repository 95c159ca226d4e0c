"""PgBouncer in transaction mode in front of a PostgreSQL server."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.harness.ports import free_port
from tests.harness.postgresql import Cluster, folder_for_servers
from tests.harness.service import DEADLINE_SECONDS, wait_until

_ACCOUNT = "postgres"  # it refuses to run as root
_CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
"""


def find_pgbouncer() -> str | None:
    """Return the program, or None if it is not installed."""
    return shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


@contextmanager
def pooling(cluster: Cluster, pool_size: int = 5) -> Iterator[int]:
    """Give the port of a pooler; its server sessions are handed out transaction by transaction."""
    program = find_pgbouncer()
    assert program is not None
    port = free_port()
    with folder_for_servers() as folder:
        file = folder / "pgbouncer.ini"
        file.write_text(_CONFIGURATION.format(server=cluster.port, port=port, pool_size=pool_size), encoding="utf-8")
        command = ["runuser", "-u", _ACCOUNT, "--"] if os.geteuid() == 0 else []
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen([*command, program, str(file)], cwd="/", stdout=output, stderr=output)
        try:
            wait_until(lambda: _takes_connections(port), f"PgBouncer takes connections: {_read(folder / 'output')}")
            yield port
        finally:
            process.terminate()
            process.wait(DEADLINE_SECONDS)


def _takes_connections(port: int) -> bool:
    try:
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _read(file: Path) -> str:
    return file.read_text(errors="replace")
