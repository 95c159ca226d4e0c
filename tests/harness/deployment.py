"""A deployment on several machines: PostgreSQL, receivers, relays and nginx with the examples of `config/`."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness.http_client import Way
from tests.harness.network import Machine, Switch, wired
from tests.harness.nginx import Nginx
from tests.harness.postgresql import Cluster
from tests.harness.rows import Row, read_rows
from tests.harness.service import ROOT, Process, Service, environment, start_command, wait_until

OPS_TOKEN = "the-ops-token-of-these-tests"
ALLOWED = ("10.0.0.101", "10.0.0.102", "10.0.0.103", "10.0.0.104")
STRANGER = "10.0.0.66"
_HANDLERS = """
import json, os, pathlib
from receiver.handlers import on_change

@on_change()
def tell(change):
    line = json.dumps(["{name}", change.tracker_id, change.sequence, change.id, change.message_id]) + "\\n"
    with open("{told}", "ab", buffering=0) as file:
        file.write(line.encode())
"""


class Told(NamedTuple):
    """A change that was handed on, and by which relay."""

    relay: str
    tracker_id: str
    move: int
    change_id: str
    message_id: str


class Receiver(NamedTuple):
    """A receiver, or a relay, on its machine."""

    machine: Machine
    service: Service

    @property
    def host(self) -> str:
        """Its address. On loopback it has an address of its own."""
        return self.machine.address if self.machine.is_namespace else "127.0.0.1"

    @property
    def place(self) -> str:
        """The same as nginx writes it."""
        return f"{self.host}:{self.service.port}"


def read_unit(name: str) -> dict[str, str]:
    """Return the settings in an example for systemd."""
    lines = (ROOT / "config" / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.removeprefix("Environment=RECEIVER_").partition("=") for line in lines if line.startswith("Environment=")]
    return {setting.lower(): value for setting, _, value in pairs if setting != "CONFIG"}


class Deployment:
    """All machines; `close` ends everything, in any state."""

    def __init__(self, folder: Path, wire: Switch) -> None:
        self.wire = wire
        self._folder = folder
        self._ending = ExitStack()
        self.database = wire.plug_in("database", "10.0.0.21")
        self.front = wire.plug_in("front", "10.0.0.10" if wire.is_real else "10.0.0.1")  # on loopback it calls from 127.0.0.1
        self.outside = wire.plug_in("outside", *ALLOWED, STRANGER)
        self.allowed, self.stranger = self.outside.addresses[:-1], self.outside.addresses[-1]
        self.receivers: list[Receiver] = []
        self.relays: list[Process] = []
        self.cluster: Cluster
        self.url = ""
        self.nginx: Nginx

    def open(self, receivers: int, relays: int) -> None:
        """Start everything."""
        self._start_database()
        self.receivers = [self._make_receiver(number) for number in range(1, receivers + 1)]
        first = self.receivers[0]
        first.machine.do(first.service.migrate)
        with ThreadPoolExecutor(receivers + relays) as threads:
            starting = [threads.submit(one.machine.do, one.service.start) for one in self.receivers]
            self.relays = [self._start_relay(one) for one in self.receivers[:relays]]
            self.nginx = Nginx(self._folder / "nginx", self.front, [one.place for one in self.receivers])
            self._ending.callback(self.nginx.close)
            self.nginx.start()
            for start in starting:
                start.result()
        log = self._folder / "relays.log"
        wait_until(lambda: log.read_bytes().count(b'"relay_started"') == relays, "all relays relay")

    def close(self) -> None:
        self._ending.close()

    def add_receiver(self) -> Receiver:
        """Start one more receiver, on a machine of its own."""
        added = self._make_receiver(len(self.receivers) + 1)
        self.receivers.append(added)
        added.machine.do(added.service.start)
        return added

    def way_in(self, source: str) -> Way:
        """Return an entry for senders: from one of their addresses, through nginx."""
        return Way(source, self.front.address, self.nginx.port, self.nginx.certificate)

    def rows(self, query: str, **parameters: object) -> list[Row]:
        """Ask the database."""
        return self.database.do(read_rows, self.url, query, **parameters)

    def execute(self, statement: str) -> str:
        """Run a statement on the server, in the receivers' database."""
        return self.database.do(self.cluster.execute, statement, "receiver")

    def told(self) -> list[Told]:
        """Return the changes that were handed on so far."""
        file = self._folder / "told"
        lines: Sequence[bytes] = file.read_bytes().splitlines() if file.exists() else []
        return [Told(*json.loads(line)) for line in lines]

    def show(self, delivery_id: str) -> Any:
        """Return a receiver's record of a delivery."""
        one = self.receivers[-1]
        return one.machine.do(one.service.get, f"/ops/api/deliveries/{delivery_id}", OPS_TOKEN).json()

    def _start_database(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="receiver-site-"))
        self._ending.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)  # the server has an account of its own
        self.cluster = self.database.do(Cluster.create, folder / "cluster")
        data = folder / "cluster" / "data"
        example = (ROOT / "config" / "postgresql.conf").read_text(encoding="utf-8")
        assert "listen_addresses = '10.0.0.21'" in example
        own = example.replace("'10.0.0.21'", f"'{self.database.address},127.0.0.1'")
        _append(data / "postgresql.auto.conf", own)
        _append(data / "pg_hba.conf", "host all all 10.0.0.0/24 trust\n")
        self._ending.callback(self.database.do, self.cluster.stop, "immediate")
        self.database.do(self.cluster.start)
        self.database.do(self.cluster.create_database, "receiver")
        self.url = f"postgresql://postgres@{self.database.address}:{self.cluster.port}/receiver"

    def _make_receiver(self, number: int) -> Receiver:
        machine = self.wire.plug_in(f"receiver-{number}", f"10.0.0.{10 + number}")
        folder = self._folder / machine.name
        settings = read_unit("receiver.service")
        assert settings.pop("port") == "8080"
        own = {"host": settings["host"] if machine.is_namespace else "127.0.0.1", "trusted_proxies": self.front.address}
        service = machine.do(
            Service,
            folder,
            self.url,
            **{**settings, **own},
            ship24_ip_policy="enforce",
            ship24_allowed_ips=",".join(self.allowed),
            ops_tokens=OPS_TOKEN,
            handlers="shop",
        )
        self._ending.callback(service.close)
        handlers = _HANDLERS.format(name=machine.name, told=self._folder / "told")
        (folder / "shop.py").write_text(handlers, encoding="utf-8")
        return Receiver(machine, service)

    def _start_relay(self, beside: Receiver) -> Process:
        env = environment(self.url, handlers="shop")
        with (self._folder / "relays.log").open("ab") as log, Path(os.devnull).open("rb") as nothing:
            files = (nothing, log, log)
            relay = beside.machine.do(start_command, "relay", cwd=beside.service.directory, env=env, files=files)
        self._ending.callback(relay.wait, 30)
        self._ending.callback(relay.kill)
        return relay


@contextmanager
def deployed(folder: Path, *, real: bool = True, receivers: int = 3, relays: int = 2) -> Iterator[Deployment]:
    """Give several machines that work; nothing of them is left when the block ends."""
    with wired(real=real) as wire:
        deployment = Deployment(folder, wire)
        try:
            deployment.open(receivers, relays)
            yield deployment
        finally:
            deployment.close()


def _append(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write(text)
