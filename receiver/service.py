"""The service: it forks the relay process and the writing process, and serves until a signal stops it."""

import os
import resource
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from multiprocessing.process import BaseProcess

import structlog
from starlette.routing import BaseRoute

from receiver.errors import ConfigurationError, name_error
from receiver.monitoring.traces import start_traces
from receiver.processes.stopping import STOP_SECONDS, StopAsked, Stopping
from receiver.relay.assembly import ConfiguredTarget, has_targets
from receiver.relay.executed_forker import try_relay
from receiver.relay.supervisor import SUPERVISOR_TIMINGS, FirstRelay, start_relay
from receiver.settings import Settings
from receiver.sources import intake
from receiver.storage import version
from receiver.storage.database import Database
from receiver.web.app import create_app
from receiver.web.server import listen, make_server
from receiver.writer import process

_CONNECTIONS_SHARE = 0.6  # of the time to stop
_TRACES_SHARE = 0.8
_WRITER_SHARE = 0.85

_log = structlog.get_logger()


def run(settings: Settings, extra_routes: Sequence[BaseRoute] = (), stop_seconds: float = STOP_SECONDS) -> int:
    """Serve, and return the exit code: 0 after a signal, 1 after an error or if the writing process was lost or had to be killed.

    Raises WriterTaken, SchemaOutdated, StorageUnavailable or ConfigurationError before it serves. After a signal it stops
    listening, answers every delivery under way, and ends the writing process and with it the last connection to the database.
    That takes `stop_seconds` at most; a second signal ends everything at once.
    """
    allow_connections()
    stopping = Stopping(stop_seconds)
    stopping.listen()
    process.tune_gc()  # before anything is forked
    database = Database(settings.database_url)
    relay: FirstRelay | None = None
    try:
        with stopping.interrupting():
            relay = start_relay(settings) if has_targets(settings) else None  # first, so that it inherits no connection
            database.take()
            version.check(database)
        return _serve(settings, database, relay, stopping, extra_routes)
    except StopAsked:
        return 0
    finally:
        if relay is not None:
            relay.socket.close()
            relay.forker.close(stopping.left(1))


def _serve(
    settings: Settings, database: Database, relay: FirstRelay | None, stopping: Stopping, extra_routes: Sequence[BaseRoute]
) -> int:
    subscriptions = tuple(known.subscription for known in relay.targets) if relay is not None else ()
    database.close_readers()  # no open connection may cross the fork
    read = partial(intake.parse_unread, settings.sources(), settings.max_body_bytes)
    others = () if relay is None else (relay.socket, relay.forker.control)
    writer, channel = process.start(database, timedelta(hours=settings.max_future_hours), read, subscriptions, others)
    stopping.when_forced(writer.kill)
    try:
        has_failed = not _answer(settings, database, channel, relay, stopping, extra_routes)
    except ConfigurationError:
        channel.close()
        raise
    except SystemExit:  # uvicorn could not start, and has logged why
        has_failed = True
    except Exception as error:
        _log.exception("service_failed", cause=name_error(error))
        has_failed = True
    if has_failed:
        with suppress(OSError):  # the server has closed it
            channel.shutdown(socket.SHUT_RDWR)  # ends the writing process
    return 0 if _has_ended(writer, stopping.left(_WRITER_SHARE)) and not has_failed else 1


def _answer(
    settings: Settings,
    database: Database,
    channel: socket.socket,
    relay: FirstRelay | None,
    stopping: Stopping,
    extra_routes: Sequence[BaseRoute],
) -> bool:
    """Answer requests until the stop; return False if the writing process was lost."""
    listener = listen(settings)  # after the fork: the writing process must not keep the port
    lost: list[int] = []

    def on_writer_lost() -> None:
        lost.append(1)
        stopping.ask()

    traces = start_traces(os.environ)
    address = listener.getsockname()[:2]
    app = create_app(settings, database, channel, on_writer_lost, stopping, relay, extra_routes, address, traces)
    server = make_server(app, settings, stopping.left(_CONNECTIONS_SHARE))

    def stop_serving() -> None:
        server.should_exit = True

    stopping.when_asked(stop_serving)
    server.run(sockets=[listener])
    if traces is not None:
        traces.close(stopping.left(_TRACES_SHARE))
    return not lost


def try_targets(settings: Settings) -> tuple[ConfiguredTarget, ...]:
    """Build the targets and handlers as `run` does. Raises ConfigurationError."""
    return try_relay(settings, SUPERVISOR_TIMINGS.import_seconds) if has_targets(settings) else ()


def try_application(settings: Settings) -> None:
    """Build the application as `run` does. Raises ReceiverError."""
    channel, theirs = socket.socketpair()
    with channel, theirs:
        create_app(settings, Database(settings.database_url), channel, lambda: None, Stopping())


def _has_ended(process: BaseProcess, seconds: float) -> bool:
    """Wait for the writing process, and kill it if it hangs: nothing uncommitted was answered 2xx."""
    process.join(seconds)
    if process.exitcode is not None:
        return True
    _log.error("writer_killed", process_id=process.pid)
    process.kill()
    process.join()
    return False


def allow_connections() -> None:
    """Raise the limit of open files to the maximum: each connection is one, and many systems start with 1,024."""
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a system may name a maximum and not grant it
        resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
