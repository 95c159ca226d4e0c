"""Connections to the two databases, with the settings that make commits durable.

SQLite: WAL mode, every commit synced (`synchronous=FULL`), and exactly one writing connection in exactly one process, which also
checkpoints: builds before 3.51.3 can corrupt the WAL when two connections write and checkpoint (sqlite.org/wal.html, "The
WAL-reset bug"). Readers open the file read-only.

PostgreSQL: psycopg 3, any number of processes and hosts. A URL may name several servers, of which the primary is used. After a
failover, a broken connection is replaced by one to the new primary.
"""

import re
from sqlite3 import Error as SQLiteError
from sqlite3 import register_adapter
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from receiver.errors import ConfigurationError
from receiver.storage.driver import send
from receiver.storage.postgresql import prepare_reader, prepare_writer, set_in_transaction

_HOSTS = re.compile(r"(?P<before>[^:/]+://(?:[^:/]*(?::[^@?]*)?@)?+)(?P<hosts>[^/?@]*,[^/?@]*)(?P<after>.*)", re.DOTALL)
_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d*)?")
_PORT = re.compile(r":(\d*)$")
_SECRETS = ("password", "sslpassword")  # options that must not be shown
_CONNECT_SECONDS = 5
_CONNECT_SECONDS_OF_SEVERAL = 3  # a host that drops packets may be tried first each time, and the next one needs time too
_MIN_SQLITE = (3, 35)
_BUSY_MS = 5000
_READER_PRAGMAS = ("query_only=ON", f"busy_timeout={_BUSY_MS}")
_WRITER_PRAGMAS = (
    "page_size=2048",  # of a new file, others keep theirs: a message changes a row here and there, and the WAL gets whole pages
    *(f"busy_timeout={_BUSY_MS}", "journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000", "cache_size=-16384"),
    "secure_delete=ON",  # deleted content is overwritten: it may be personal data
)
# 4000 pages are 8 MiB of WAL: pages that change often are written back once for many commits


def is_sqlite(url: URL) -> bool:
    """Tell whether the database is a SQLite file; otherwise it is a PostgreSQL server."""
    return url.get_backend_name() == "sqlite"


def read_url(given: str) -> URL:
    """Read an SQLAlchemy URL, or one of PostgreSQL's own that names several hosts (`host1:port1,host2:port2`).

    Raises ConfigurationError for an invalid URL or another database.
    """
    try:
        url = _make_url(given)
    except (SQLAlchemyError, ValueError):
        expected = "expected an SQLAlchemy URL, such as sqlite:///data/receiver.db or postgresql://user@host/name"
        raise ConfigurationError(f"RECEIVER_DATABASE_URL: {expected}.") from None
    if url.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return _check_postgresql(url.set(drivername="postgresql+psycopg"))
    if url.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise ConfigurationError(f"RECEIVER_DATABASE_URL: expected sqlite or postgresql, not {url.drivername!r}.")
    if not url.database or ":memory:" in url.database or url.database.startswith("file:"):
        raise ConfigurationError("RECEIVER_DATABASE_URL: expected the path of a file; a database in memory stores nothing.")
    return url


def show_url(url: URL) -> str:
    """Return the URL without its secrets."""
    return url.difference_update_query(_SECRETS).render_as_string(hide_password=True)


def connection_arguments(url: URL, name: str) -> dict[str, Any]:
    """Return the arguments of a connection to PostgreSQL: those of the URL, and our defaults for the others.

    Of several servers the primary is used. A server that vanishes without closing connections is noticed within ten seconds.
    """
    _, from_url = url.get_dialect()().create_connect_args(url)
    several = "," in str(from_url.get("host", ""))
    return {
        "application_name": name,
        "target_session_attrs": "primary" if several else "any",
        "connect_timeout": _CONNECT_SECONDS_OF_SEVERAL if several else _CONNECT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "client_encoding": "UTF8",
        **from_url,
    }


def make_writing_engine(url: URL) -> Engine:
    """Return the engine of the writing connection; each transaction on it locks at its start."""
    if not is_sqlite(url):
        engine = create_engine(
            url,
            poolclass=NullPool,
            paramstyle="format",
            hide_parameters=True,
            connect_args=connection_arguments(url, "receiver writer"),
        )
        event.listen(engine, "connect", prepare_writer)
        event.listen(engine, "begin", set_in_transaction)
        return engine
    engine = create_engine(
        _make_file_url(url, "rw"),  # a missing file is an error, not a new database
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "cached_statements": 1024},
    )
    event.listen(engine, "connect", _prepare_sqlite_writer)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def make_reading_engine(url: URL) -> Engine:
    """Return the engine of the read-only connections."""
    if not is_sqlite(url):
        arguments = connection_arguments(url, "receiver reader")
        engine = create_engine(url, pool_size=4, pool_pre_ping=True, hide_parameters=True, connect_args=arguments)
        event.listen(engine, "connect", prepare_reader)
        event.listen(engine, "begin", set_in_transaction)
        return engine
    engine = create_engine(
        _make_file_url(url, "ro"), pool_size=4, hide_parameters=True, connect_args={"check_same_thread": False}
    )
    event.listen(engine, "connect", _prepare_sqlite_reader)
    return engine


def _make_file_url(url: URL, mode: str) -> URL:
    return URL.create("sqlite", database=f"file:{quote(url.database or '')}", query={"mode": mode, "uri": "true"})


def _prepare_sqlite_writer(connection: Any, _record: object) -> None:
    version: str = connection.execute("SELECT sqlite_version()").fetchone()[0]
    if tuple(int(part) for part in version.split(".")[:2]) < _MIN_SQLITE:
        raise ConfigurationError(f"SQLite {version} is too old; expected 3.35 or later.")
    connection.isolation_level = None  # _begin_immediate begins transactions, not the driver
    _keep_values()
    for setting in _WRITER_PRAGMAS:
        connection.execute(f"PRAGMA {setting}")


def _keep_values() -> None:
    """Spare the driver the search for an adapter of None and bytes, which it passes on as they are.

    The search raises an error inside the driver for each such value: a fifteenth of the time for storing a message.
    """
    adapt_none: Any = {}.get  # returns its argument, None, without a frame of Python
    register_adapter(type(None), adapt_none)
    register_adapter(bytes, bytes)


def _prepare_sqlite_reader(connection: Any, _record: object) -> None:
    for setting in _READER_PRAGMAS:
        connection.execute(f"PRAGMA {setting}")


def _begin_immediate(connection: Connection) -> None:
    send(connection, "BEGIN IMMEDIATE")


def _make_url(given: str) -> URL:
    """Read a URL. Several hosts become the options `host` and `port`, as SQLAlchemy expects them."""
    several = _HOSTS.fullmatch(given)
    if several is None or given.startswith("sqlite"):
        return make_url(given)
    hosts = several["hosts"].split(",")
    if not all(_HOST.fullmatch(host) for host in hosts):  # a part of a password, which would be shown as a host
        raise ValueError("expected hosts")
    ports = [found[1] if (found := _PORT.search(host)) else "" for host in hosts]
    names = [_PORT.sub("", host).strip("[]") for host in hosts]
    options = {"host": ",".join(names), **({"port": ",".join(ports)} if any(ports) else {})}
    return make_url(several["before"] + several["after"]).update_query_dict(options)


def _check_postgresql(url: URL) -> URL:
    """Return the URL with a password from its options where it is hidden. Raises ConfigurationError for unknown options."""
    from receiver.storage.psycopg_driver import knows_options  # noqa: PLC0415  slow, and SQLite does without

    if "@" in (url.host or ""):  # the rest of a password, which would be shown as a host
        raise ConfigurationError("RECEIVER_DATABASE_URL: write @ in a user or password as %40.")
    if isinstance(password := url.query.get("password"), str):
        url = url.set(password=password).difference_update_query(["password"])
    try:
        is_known = knows_options(connection_arguments(url, "receiver"))
    except (SQLAlchemyError, ValueError):
        is_known = False
    if not is_known:
        expected = "expected hosts as host1:port1,host2:port2, and options that PostgreSQL knows (libpq's connection parameters)"
        raise ConfigurationError(f"RECEIVER_DATABASE_URL: {expected}.")
    return url


def has_lost_sync(error: BaseException) -> bool:
    """Tell whether a sync of the file failed. The system may have dropped the pages, and a later sync does not report that."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlite_errorname", None) == "SQLITE_IOERR_FSYNC"


def checkpoint_passive(connection: Connection) -> bool:
    """Copy a SQLite file's WAL into the file without waiting for readers; return whether all of it was copied.

    Call this outside of transactions. On PostgreSQL there is nothing to do.
    """
    if not is_sqlite(connection.engine.url):
        return True
    driver: Any = connection.connection.driver_connection
    try:
        busy, pages, copied = driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except SQLiteError:
        return False
    return not busy and pages == copied


def checkpoint(connection: Connection, wait_ms: int = 0) -> bool:
    """Copy a SQLite file's WAL into the file and empty it; return whether it is empty.

    Wait at most `wait_ms` milliseconds for readers of older pages. Call this outside of transactions.
    """
    if not is_sqlite(connection.engine.url):
        return True
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA busy_timeout={wait_ms}")
    try:
        busy, *_ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        driver.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    return not busy


def keep_journal_in_memory(connection: Connection) -> None:
    """Keep SQLite's statement journal in memory. Call it outside of transactions."""
    if is_sqlite(connection.engine.url):
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA temp_store=MEMORY")


def vacuum(connection: Connection) -> None:
    """Rewrite a SQLite file without its free pages. Call it outside of transactions."""
    driver: Any = connection.connection.driver_connection
    driver.execute("VACUUM")
    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
