"""The service as a process of its own, in an empty folder and a clean environment."""

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any, NamedTuple

import psutil

from receiver.access.bearer import make_fingerprint
from tests.harness import fork_server
from tests.harness.ports import free_port
from tests.harness.rows import Row, count_rows, read_rows, table_rows
from tests.harness.storage import make_tables

ROOT = Path(__file__).resolve().parents[2]
SHIP24 = "/webhooks/ship24"
TOKEN = "the-token-of-these-tests"
DEADLINE_SECONDS = 120.0  # only what is broken waits so long, however busy the machine is
PATIENT = {"commit_timeout_seconds": f"{DEADLINE_SECONDS:g}"}
"""Settings with which a request is answered on a busy machine too."""


def name_of(token: str) -> str:
    """Return the name of a token without a name of its own."""
    return f"token-{make_fingerprint(token.encode())}"


Process = subprocess.Popen[bytes] | fork_server.StartedCommand


class Reply(NamedTuple):
    """An answer of the service."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def outcomes(self) -> list[str]:
        """Return what became of the messages, in body order."""
        return [message["outcome"] for message in self.json()["messages"]]


def wait_until(condition: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Ask again and again until the answer is yes; fail loudly if it never is."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain: {what}")
        sleep(0.02)


def environment(database_url: str, **settings: str) -> dict[str, str]:
    """Return the whole environment of a command: names of settings are in lower case, without their prefix."""
    given = {"database_url": database_url, **settings}
    variables = {f"RECEIVER_{name.upper()}": value for name, value in given.items()}
    return {**fork_server.BASE, **variables}


def start_command(
    *arguments: str, cwd: Path, env: Mapping[str, str], files: Sequence[IO[bytes]], prefix: Sequence[str] = ()
) -> Process:
    """Start one `receiver` command with these files as its standard input, output and error.

    With a `prefix` it is a new interpreter, and the prefix is put before it.
    """
    if fork_server.can_start(env) and not prefix:
        return fork_server.start(arguments, cwd, env, files)
    command = [*prefix, sys.executable, "-m", "receiver", *arguments]
    stdin, stdout, stderr = files
    return subprocess.Popen(command, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr)


RUNNING: "set[Service]" = set()
"""The services of this process that were started and not closed. A failed test shows their logs."""


class Service:
    """One `receiver serve`. Keeps its port over restarts; `prefix` is put before the command, as in `strace …`.

    Its log is a file in its folder, or goes to the file (device, pipe) that `standard_error` names.
    """

    def __init__(
        self,
        directory: Path,
        database_url: str,
        prefix: Sequence[str] = (),
        standard_error: str = "",
        **settings: str,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.database_url = database_url
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "stderr.log"
        self._standard_error = Path(standard_error or self.log)
        self.process: Process | None = None
        self._family: list[psutil.Process] = []
        self._prefix = prefix
        settings = {"port": str(self.port), "ship24_tokens": TOKEN, "ship24_ip_policy": "off", **settings}
        self.env = environment(database_url, **settings)

    def migrate(self) -> None:
        """Make the tables."""
        make_tables(self.database_url)

    def start(self) -> "Service":
        """Start the process and wait until it serves."""
        RUNNING.add(self)
        with self.log.open("ab") as log, self._standard_error.open("ab", 0) as err, Path(os.devnull).open("rb") as nothing:
            files = (nothing, log, err)
            self.process = start_command("serve", cwd=self.directory, env=self.env, files=files, prefix=self._prefix)
        wait_until(self._serves, "the service serves")
        self._family = psutil.Process(self.process.pid).children(recursive=True)
        return self

    def stop(self) -> int:
        """Ask the process to end (SIGTERM) and return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Wait for the end of the process and of the one it forked; return its exit code."""
        assert self.process is not None
        code = self.process.wait(DEADLINE_SECONDS)
        wait_until(lambda: not any(map(_lives, self._family)), "the process that writes ends too")
        return code

    def kill(self) -> None:
        """End the process as the kernel does, and wait until the one that it forked has noticed."""
        assert self.process is not None
        self.process.kill()
        self.wait()

    def restart(self) -> None:
        """Start again after a stop or a kill, on the same port and database."""
        self.start()

    def close(self) -> None:
        """End all processes, in any state."""
        RUNNING.discard(self)
        if self.process is None:
            return
        self.process.kill()
        for process in self._family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(DEADLINE_SECONDS)
        wait_until(lambda: not any(map(_lives, self._family)), "the process that writes ends too")

    def writer(self) -> psutil.Process:
        """Return the process that writes."""
        (writer,) = self._family
        return writer

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Stop the writing process for the block: deliveries wait for it until their time-out."""
        writer = self.writer()
        writer.suspend()
        try:
            yield
        finally:
            with suppress(psutil.NoSuchProcess):
                writer.resume()

    def logs(self) -> str:
        """Return everything that the process has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection of the usual kind."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)

    @contextmanager
    def socket(self) -> Iterator[socket.socket]:
        """Give a bare connection, for requests that no client would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS) as connection:
            yield connection

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Sequence[tuple[str, str]] = (),
        connection: http.client.HTTPConnection | None = None,
    ) -> Reply:
        """Send one request, on a new connection unless one is given. Headers may repeat."""
        used = connection or self.connect()
        try:
            send(used, method, path, body, headers)
            return receive(used)
        finally:
            if connection is None:
                used.close()

    def get(self, path: str, token: str | None = None) -> Reply:
        return self.call("GET", path, headers=bearer(token))

    def post(
        self,
        body: bytes,
        path: str = SHIP24,
        token: str | None = TOKEN,
        headers: Sequence[tuple[str, str]] = (),
        connection: http.client.HTTPConnection | None = None,
    ) -> Reply:
        """Post a body as Ship24 does."""
        return self.call("POST", path, body, [("Content-Type", "application/json"), *bearer(token), *headers], connection)

    def rows(self, query: str, **parameters: object) -> list[Row]:
        """Ask the database, beside the service, with a reader's rights."""
        return read_rows(self.database_url, query, **parameters)

    def scalar(self, query: str, **parameters: object) -> Any:
        """Ask the database for one value."""
        return next(iter(self.rows(query, **parameters)[0].values()))

    def table(self, table: str, *columns: str, order: str = "", **equal: object) -> list[Row]:
        """Return rows of a table, as `table_rows` does."""
        return table_rows(self.database_url, table, *columns, order=order, **equal)

    def count(self, table: str, **equal: object) -> int:
        """Return how many rows of a table have these values."""
        return count_rows(self.database_url, table, **equal)

    def total(self, table: str, column: str, **equal: object) -> int:
        """Return the sum of a column of the rows that have these values."""
        return sum(row[column] for row in self.table(table, column, order="", **equal))

    def value(self, table: str, column: str, **equal: object) -> Any:
        """Return one value of the first row that has these values."""
        return self.table(table, column, order="", **equal)[0][column]

    def _serves(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.logs()}"
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False


def send(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: Sequence[tuple[str, str]]
) -> None:
    """Send a request. Headers may repeat."""
    connection.putrequest(method, path, skip_accept_encoding=True)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    for name, value in headers:
        connection.putheader(name, value.encode("utf-8"))
    connection.endheaders(body)


def receive(connection: http.client.HTTPConnection) -> Reply:
    """Wait for the answer to what was sent."""
    response = connection.getresponse()
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


def bearer(token: str | None) -> list[tuple[str, str]]:
    """Return the header that carries a token."""
    return [("Authorization", f"Bearer {token}")] if token is not None else []


def _lives(process: psutil.Process) -> bool:
    """Tell whether a process runs. A zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def serving(
    directory: Path, database_url: str, prefix: Sequence[str] = (), standard_error: str = "", **settings: str
) -> Iterator[Service]:
    """Give a service with its tables made; its processes end with the block."""
    service = Service(directory, database_url, prefix, standard_error, **settings)
    service.migrate()
    try:
        yield service.start()
    finally:
        service.close()
