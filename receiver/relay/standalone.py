"""The command `receiver relay`: a supervisor and its relay processes on their own, without the service (PostgreSQL only)."""

import asyncio

import structlog

from receiver.errors import ConfigurationError
from receiver.processes.stopping import STOP_SECONDS, StopAsked, Stopping
from receiver.relay.assembly import has_targets
from receiver.relay.command_runner import CommandRunner
from receiver.relay.heartbeat import Heartbeat, LoadedSettings
from receiver.relay.supervisor import SUPERVISOR_TIMINGS, FirstRelay, Supervisor, SupervisorTimings, start_relay
from receiver.settings import Settings
from receiver.settings.fingerprints import make_fingerprints
from receiver.storage import version
from receiver.storage.database import Database

_RELAY_SHARE = 0.7  # of the time in which this process has to stop
_LAST_BEAT_SECONDS = 1.0

_log = structlog.get_logger()


def run(settings: Settings, stop_seconds: float = STOP_SECONDS, timings: SupervisorTimings = SUPERVISOR_TIMINGS) -> None:
    """Relay until SIGTERM or SIGINT, then finish what is in flight. Raises ConfigurationError, SchemaOutdated."""
    database = Database(settings.database_url)
    if database.has_one_writer:
        raise ConfigurationError("`receiver relay` is for PostgreSQL. With SQLite `receiver serve` delivers changes itself.")
    if not has_targets(settings):
        raise ConfigurationError("There are no targets. Set RECEIVER_HANDLERS, or add [[targets]] to config/receiver.toml.")
    stopping = Stopping(stop_seconds)
    stopping.listen()
    try:
        with stopping.interrupting():
            first = start_relay(settings, timings.import_seconds)
            version.check(database)
            database.close_readers()
    except StopAsked:
        return
    loaded = LoadedSettings(None, make_fingerprints(settings))
    asyncio.run(_run(database, first, stopping, timings, loaded))


async def _run(
    database: Database, first: FirstRelay, stopping: Stopping, timings: SupervisorTimings, loaded: LoadedSettings
) -> None:
    runner = CommandRunner(database)
    supervisor = Supervisor(first, runner.do, timings)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    stopping.when_forced(supervisor.kill)
    beating = asyncio.create_task(Heartbeat(runner.do, None, supervisor.state, loaded).run())
    supervisor.start(has_one_writer=database.has_one_writer)
    stopping.when_asked(lambda: loop.call_soon_threadsafe(stop.set))  # type: ignore[arg-type]
    await stop.wait()
    _log.info("stop_requested")
    await supervisor.stop(stopping.left(_RELAY_SHARE))
    beating.cancel()
    await asyncio.wait([beating], timeout=_LAST_BEAT_SECONDS)
    runner.close()
