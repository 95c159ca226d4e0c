"""What a connection to PostgreSQL has to be told, for its session or, behind a pooler, in each transaction."""

from typing import Any

from sqlalchemy import Connection

from receiver.errors import ConfigurationError

_SETTINGS = "settings"  # where a connection keeps, in its `info`, what is set in each transaction
_MIGRATION_LOCK = 7_242_365  # any number that is always the same
_LOCK_SECONDS = 5
_WARNING = "warning"  # where a connection keeps, in its `info`, what the server warned of last

_WHOLE_TABLES = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan")
"""Plans that read whole tables, or all that an index finds before a LIMIT. What writes asks by key; before a new table is first
analysed the server takes it for small."""


# A 2xx means synced, at a synchronous standby too, whatever the default; without one `on` waits for no more than `local` does
_SYNCHRONOUS = (
    "CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN set_config('synchronous_commit', 'on', {0}) END"
)
_WRITER_SETTINGS = ", ".join([*(f"set_config('{plan}', 'off', {{0}})" for plan in _WHOLE_TABLES), _SYNCHRONOUS])
_READER_SETTINGS = "set_config('jit', 'off', {0})"  # to compile one of our questions takes many times what answering it does


def prepare_writer(connection: Any, record: Any) -> None:
    """Prepare a connection that writes, when it is made. Raises ConfigurationError for another encoding than UTF-8."""
    connection.prepared_max = 1000
    connection.add_notice_handler(lambda notice: _note_warning(record.info, notice))
    _set(connection, record, _WRITER_SETTINGS)


def prepare_reader(connection: Any, record: Any) -> None:
    """Prepare a connection that only reads, when it is made. Raises ConfigurationError for another encoding than UTF-8."""
    _set(connection, record, _READER_SETTINGS)
    connection.read_only = True


def _set(connection: Any, record: Any, settings: str) -> None:
    """Set for the whole session what it is to keep to; behind a pooler, note it for the beginning of each transaction.

    A pooler gives each transaction another session, in which there is neither what was set nor what was prepared before.
    """
    _check_encoding(connection)
    served_by = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
    if served_by == connection.info.backend_pid:
        connection.execute(f"SELECT {settings.format('false')}")
    else:
        connection.prepare_threshold = None
        record.info[_SETTINGS] = f"SELECT {settings.format('true')}"
    connection.commit()


def set_in_transaction(connection: Connection) -> None:
    """Set, at the beginning of a transaction, what could not be set for the session."""
    if settings := connection.info.get(_SETTINGS):
        connection.exec_driver_sql(settings)


def lock_version(connection: Connection) -> None:
    """Let one process migrate at a time, after the transactions under way; those that come later wait and see the new version.

    A migration waits five seconds for each lock: whoever needs a table waits behind it. Call it in the transaction.
    """
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
    if connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar() is not None:
        connection.exec_driver_sql("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")


def _check_encoding(connection: Any) -> None:
    server, client = (connection.info.parameter_status(f"{side}_encoding") for side in ("server", "client"))
    if server != "UTF8":
        raise ConfigurationError(
            f"RECEIVER_DATABASE_URL: the database has the encoding {server}; expected UTF8. "
            "Make one with CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'."
        )
    if client != "UTF8":
        raise ConfigurationError(f"RECEIVER_DATABASE_URL: client_encoding is {client}; expected UTF8, or leave it out.")


def _note_warning(info: dict[str, Any], notice: Any) -> None:
    if notice.severity_nonlocalized == "WARNING":
        info[_WARNING] = notice.message_primary


def take_warning(connection: Connection) -> str | None:
    """Return what a server warned of on a writing connection since this was asked last."""
    warning: str | None = connection.info.pop(_WARNING, None)
    return warning
