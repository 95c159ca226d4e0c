"""A NATS server with JetStream on its own port and folder."""

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import nats
import orjson
from nats.aio.client import Client
from nats.js.api import StreamConfig

from tests.harness.ports import free_port
from tests.harness.service import wait_until

_T = TypeVar("_T")
SUBJECT = "parcels.changes"


def find_broker() -> str | None:
    """Return the server's program, or None if it is not installed."""
    return shutil.which("nats-server", path="/usr/sbin:/usr/local/bin:/usr/bin")


class Published(NamedTuple):
    """A message in the stream."""

    message_id: str | None
    body: dict[str, Any]

    @property
    def place(self) -> tuple[str, int]:
        return self.body["data"]["tracker_id"], self.body["data"]["sequence"]


class Broker:
    """One server; keeps its port and what it stored when it is stopped and started."""

    def __init__(self, directory: Path, token: str = "") -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._token = token
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Broker":
        """Start the server and wait until it takes connections."""
        program = find_broker()
        assert program is not None
        command = [program, "-js", "-a", "127.0.0.1", "-p", str(self.port), "-sd", str(self._directory / "store")]
        command += ["--auth", self._token] if self._token else []
        with (self._directory / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, "the broker answers")
        return self

    def stop(self) -> None:
        """End the server as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def make_stream(self) -> None:
        """Make the stream that takes the subject."""

        async def make(client: Client) -> None:
            await client.jetstream().add_stream(StreamConfig(name="PARCELS", subjects=["parcels.>"]))

        self.run(make)

    def published(self) -> list[Published]:
        """Return what is in the stream, in its order."""

        async def read(client: Client) -> list[Published]:
            stream = client.jetstream()
            state = (await stream.stream_info("PARCELS")).state
            numbers = range(state.first_seq, state.last_seq + 1) if state.messages else range(0)
            messages = [await stream.get_msg("PARCELS", number) for number in numbers]
            return [Published((one.headers or {}).get("Nats-Msg-Id"), orjson.loads(one.data or b"")) for one in messages]

        return self.run(read)

    def run(self, work: Callable[[Client], Awaitable[_T]]) -> _T:
        """Do something with a connection of its own."""

        async def connected() -> _T:
            client = await nats.connect(
                self.url,
                error_cb=_ignore,
                token=self._token or None,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
            )
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(connected())

    def _answers(self) -> bool:
        async def nothing(client: Client) -> bool:
            return client.is_connected

        try:
            return self.run(nothing)
        except (nats.errors.Error, OSError):
            return False


async def _ignore(_error: Exception) -> None:
    """What goes wrong is raised, too."""


@contextmanager
def brokering(directory: Path, token: str = "") -> Iterator[Broker]:
    """Give a running broker with a stream; it ends with the block."""
    broker = Broker(directory, token)
    try:
        broker.start()
        broker.make_stream()
        yield broker
    finally:
        broker.stop()
