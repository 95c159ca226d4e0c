"""The running service: takes the database, forks the writing process, serves until told to stop."""

import resource
import signal
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial

import structlog
from starlette.routing import BaseRoute

from receiver import intake, writer
from receiver.errors import ConfigurationError
from receiver.relay.assembly import read_subscriptions
from receiver.settings import Settings
from receiver.storage import version
from receiver.storage.database import Database
from receiver.web.app import create_app
from receiver.web.server import listen, make_server

_log = structlog.get_logger()


def run(settings: Settings, extra_routes: Sequence[BaseRoute] = ()) -> int:
    """Serve. Returns the exit code: 0 after a signal, 1 if the writing process was lost.

    Raises WriterTaken, SchemaOutdated, StorageUnavailable or ConfigurationError before anything is served. A signal stops the
    listening, then every call under way is answered, then the writing process ends and with it the last connection to the
    database.
    """
    allow_connections()
    database = Database(settings.database_url)
    subscriptions = read_subscriptions(settings)
    database.take()
    version.check(database)
    database.close_readers()  # nothing that is open may cross the fork
    read = partial(intake.take_unread, settings.sources(), settings.max_body_bytes)
    process, channel = writer.start(database, timedelta(hours=settings.max_future_hours), read, subscriptions)
    try:
        listener = listen(settings)  # after the fork: the writing process must not keep the port
    except ConfigurationError:
        channel.close()
        raise
    lost: list[int] = []

    def on_writer_lost() -> None:
        lost.append(1)
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # uvicorn puts its own in front, and raises the signal again when it is done
    server = make_server(create_app(settings, database, channel, on_writer_lost, extra_routes), settings)
    server.run(sockets=[listener])
    process.join(settings.commit_timeout_seconds)
    return 1 if lost else 0


def allow_connections() -> None:
    """Let this process open as many files as it may: a connection is one, and many systems begin with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a system may name a limit and not grant it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
