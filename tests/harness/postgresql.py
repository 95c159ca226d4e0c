"""A PostgreSQL server of our own: its own directory, its own port, default durability settings."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Literal

from tests.harness.ports import free_port

_INSTALLED = Path("/usr/lib/postgresql")  # where Debian puts each major version
_ACCOUNT = "postgres"  # the account that Debian makes for the server, which refuses to run as root


def find_binaries() -> Path | None:
    """Return the folder with the newest `initdb`, or None if PostgreSQL is not installed."""
    found = [path.parent for path in _INSTALLED.glob("*/bin/initdb") if path.parent.parent.name.isdigit()]
    if found:
        return max(found, key=lambda folder: int(folder.parent.name))
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).resolve().parent if elsewhere else None


class Cluster:
    """One server. `create` makes it, `start` and `stop` run it; it listens on 127.0.0.1 and trusts everybody there."""

    def __init__(self, binaries: Path, directory: Path, port: int) -> None:
        self._binaries = binaries
        self._data = directory / "data"
        self._directory = directory
        self.port = port

    @classmethod
    def create(cls, directory: Path) -> "Cluster":
        """Make a new cluster in `directory`. As root, the folder is given to `postgres` and must be reachable for it."""
        binaries = find_binaries()
        if binaries is None:
            raise FileNotFoundError("PostgreSQL is not installed: no initdb below /usr/lib/postgresql or on the PATH")
        directory.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            _give_away(directory)
        cluster = cls(binaries, directory, free_port())
        cluster._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D", str(cluster._data))
        cluster._configure()
        return cluster

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._directory / "log"), "-w", "-t", "60", "start")

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server if it runs; `immediate` is what a crash looks like."""
        if self.is_running():
            self._run("pg_ctl", "-D", str(self._data), "-m", mode, "-w", "-t", "60", "stop")

    def is_running(self) -> bool:
        """Tell whether there is a server on this directory."""
        return self._run("pg_ctl", "-D", str(self._data), "status", check=False).returncode == 0

    def create_database(self, name: str, icu_locale: str | None = None) -> str:
        """Make an empty database and return its URL. It sorts text by code points, or as people of `icu_locale` do."""
        sorting = f" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE '{icu_locale}'" if icu_locale else ""
        self.execute(f'CREATE DATABASE "{name}"{sorting}')
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run one statement with psql and return what it prints, without decoration."""
        target = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database)
        return self._run("psql", *target, "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", statement).stdout.strip()

    def _configure(self) -> None:
        lines = (
            "listen_addresses = '127.0.0.1'",
            f"port = {self.port}",
            f"unix_socket_directories = '{self._directory}'",
            "max_connections = 200",
        )
        with (self._data / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def _run(self, name: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(self._binaries / name), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", _ACCOUNT, "--", *command]
        with (self._directory / "output").open("w+b") as output:  # not a pipe: a server that was started would hold it open
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd="/", check=False
            )
            output.seek(0)
            text = output.read().decode(errors="replace")
        if check and done.returncode != 0:
            raise RuntimeError(f"{name} ended with {done.returncode}: {text.strip()}")
        return subprocess.CompletedProcess(command, done.returncode, text)


def _give_away(directory: Path) -> None:
    shutil.chown(directory, _ACCOUNT, _ACCOUNT)
    directory.chmod(0o755)
