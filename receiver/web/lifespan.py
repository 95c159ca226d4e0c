"""Start and stop of everything that runs beside the requests: writer connection, tasks, alarms, relay."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import structlog
from starlette.applications import Starlette

from receiver.monitoring.alarm_monitor import AlarmMonitor
from receiver.monitoring.notifier import AlarmNotifier
from receiver.processes.stopping import Stopping
from receiver.relay.supervisor import Supervisor
from receiver.settings import Settings
from receiver.sources import NAMES
from receiver.storage.database import Database
from receiver.web.wrong_token_audit import WrongTokenAudit
from receiver.writer.client import WriterClient

_RELAY_SHARE = 0.7  # of the time to stop, counted from the request to stop
_READS_SHARE = 0.73
_WRITER_SHARE = 0.75

_log = structlog.get_logger()


class ServiceLifespan:
    """A Starlette lifespan. `channel` leads to the writing process; `tasks` run until the service stops."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        channel: socket.socket,
        writer_client: WriterClient,
        wrong_token_audit: WrongTokenAudit,
        monitor: AlarmMonitor,
        notifier: AlarmNotifier,
        supervisor: Supervisor | None,
        tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]],
        stopping: Stopping,
    ) -> None:
        self._settings = settings
        self._database = database
        self._channel = channel
        self._writer_client = writer_client
        self._wrong_token_audit = wrong_token_audit
        self._monitor = monitor
        self._notifier = notifier
        self._supervisor = supervisor
        self._tasks = tasks
        self._stopping = stopping

    @asynccontextmanager
    async def run(self, _app: Starlette) -> AsyncIterator[None]:
        """Start everything; at the end, stop it in reverse order."""
        async with AsyncExitStack() as stack:
            await self._writer_client.open(self._channel)
            stack.push_async_callback(self._close_writer)
            stack.push_async_callback(self._end_reads)
            stack.push_async_callback(self._wrong_token_audit.close)
            stack.push_async_callback(self._monitor.settle)
            self._notifier.start(self._monitor.note_settled)
            stack.push_async_callback(asyncio.to_thread, self._notifier.close)
            for task in self._tasks:
                stack.callback(asyncio.create_task(task()).cancel)
            if self._supervisor is not None:
                self._start_relay(self._supervisor)
                stack.push_async_callback(self._stop_relay, self._supervisor)
            _log_start(self._settings, self._database)
            yield
            _log.info("stop_requested")

    async def _close_writer(self) -> None:
        await self._writer_client.close(self._stopping.left(_WRITER_SHARE))

    async def _end_reads(self) -> None:
        await asyncio.to_thread(self._database.end_reads, self._stopping.left(_READS_SHARE))

    def _start_relay(self, supervisor: Supervisor) -> None:
        """Start the relay. It is asked to finish as soon as the service is asked to stop."""
        loop = asyncio.get_running_loop()

        def finish() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(supervisor.finish, self._stopping.left(_RELAY_SHARE))

        supervisor.start(has_one_writer=self._database.has_one_writer)
        self._writer_client.watch_changes(supervisor.wake)
        self._stopping.when_forced(supervisor.kill)
        self._stopping.when_asked(finish)

    async def _stop_relay(self, supervisor: Supervisor) -> None:
        await supervisor.stop(self._stopping.left(_RELAY_SHARE))


def _log_start(settings: Settings, database: Database) -> None:
    for source in NAMES:
        if not settings.access_policy(source).tokens:
            _log.warning("source_disabled", source=source, setting=f"RECEIVER_{source.upper()}_TOKENS")
    _log.info("service_started", host=settings.host, port=settings.port, database=str(database))
