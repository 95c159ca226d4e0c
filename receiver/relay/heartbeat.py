"""The heartbeat: rows in the database that show the roles and targets of this running process."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from types import MappingProxyType
from typing import NamedTuple

import structlog

from receiver import __version__, clock
from receiver.domain.processes import RECEIVER, RELAY, ProcessRow
from receiver.errors import ReceiverError, name_error
from receiver.logs.outage import Outage
from receiver.relay.supervisor import RelayState
from receiver.writer.commands.changes import NoteProcesses, RemoveProcess
from receiver.writer.executor import Do

_BEAT_MICROS = 30_000_000
_CHECK_SECONDS = 2.0  # so that a new role or another list of targets is stored soon

_log = structlog.get_logger()


class LoadedSettings(NamedTuple):
    """What a process tells of its settings: the URL on which it listens (None: it does not), and their fingerprints."""

    address: str | None = None
    fingerprints: Mapping[str, str] = MappingProxyType({})


class Heartbeat:
    """Refreshes the rows of this process every 30 seconds.

    `received`: the targets for which this process makes changes; None if it is not a receiver. `relay` returns the state of its
    relay.
    """

    def __init__(
        self, do: Do, received: Sequence[str] | None, relay: Callable[[], RelayState], loaded: LoadedSettings | None = None
    ) -> None:
        self._loaded = loaded or LoadedSettings()
        self._id = token_hex(16)
        self._do = do
        self._received = received
        self._relay = relay
        self._started_at = clock.to_micros(clock.now())
        self._noted: dict[str, tuple[str, ...]] = {}
        self._noted_at = 0
        self._outage = Outage()

    async def run(self) -> None:
        """Beat until cancelled, then remove the rows."""
        try:
            await self._beat_on()
        finally:
            with suppress(Exception):  # they expire by themselves
                await self._do(RemoveProcess(self._id))

    async def _beat_on(self) -> None:
        """Beat regularly. A failed beat is logged once per cause and does not end the loop."""
        while True:
            try:
                await self.beat(clock.to_micros(clock.now()))
                self._outage.end()
            except Exception as error:
                cause = error.message if isinstance(error, ReceiverError) else name_error(error)
                if self._outage.begin(cause):
                    _log.warning("heartbeat_failed", cause=cause)
            await asyncio.sleep(_CHECK_SECONDS)

    async def beat(self, now: int) -> None:
        """Store that this process runs, if that is due or has changed. Raises ReceiverError."""
        roles = self._find_roles()
        is_new = any(self._noted.get(role) != names for role, names in roles.items())
        if roles and (is_new or abs(now - self._noted_at) >= _BEAT_MICROS):
            host, process_id = socket.gethostname(), os.getpid()
            rows = [
                ProcessRow(self._id, role, host, process_id, __version__, self._started_at, now, names, *self._loaded)
                for role, names in roles.items()
            ]
            await self._do(NoteProcesses(rows))
            self._noted, self._noted_at = roles, now

    def _find_roles(self) -> dict[str, tuple[str, ...]]:
        relay = self._relay()
        roles = {RECEIVER: self._received, RELAY: relay.targets if relay.is_running else None}
        return {role: tuple(sorted(names)) for role, names in roles.items() if names is not None}
