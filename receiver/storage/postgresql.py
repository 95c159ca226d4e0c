"""Settings of connections to PostgreSQL: for the session or, behind a connection pooler, in each transaction."""

from typing import Any

from sqlalchemy import Connection

from receiver.errors import ConfigurationError, StorageUnavailable
from receiver.storage.tables.metadata import METADATA

_SETTINGS = "settings"  # the key in the `info` of a connection for the settings of each transaction
_MIGRATION_LOCK = 7_242_365  # an arbitrary fixed number
_PACKAGES_LOCK = 7_242_366
_LOCK_SECONDS = 5
_UNSAFE_TABLES = """
SELECT relname, relpersistence <> 'p' FROM pg_class
WHERE oid = ANY (ARRAY(SELECT to_regclass(unnest(%s::text[])))) AND relkind = 'r'
    AND to_regclass('table_versions') IS NOT NULL  -- else the tables are those of another program
    AND (relpersistence <> 'p' OR NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary AND indisvalid))
"""
_COLLATIONS = """
SELECT datname, datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
"""
_WARNING = "warning"  # the key in the `info` of a connection for the last warning of the server

_WHOLE_TABLES = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan")
"""Plans that read whole tables, or everything in an index before a LIMIT. Writing connections only query by key, but the server
believes that a new table is small until it is first analysed."""


# A 2xx means synced, also on a synchronous standby, whatever the default. Without a standby `on` waits no longer than `local`
_SYNCHRONOUS = (
    "CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN set_config('synchronous_commit', 'on', {0}) END"
)
_NO_JIT = "set_config('jit', 'off', {0})"  # compiling one of our queries takes many times as long as running it
_WARNINGS = "set_config('client_min_messages', 'warning', {0})"  # else a default may hide them (`take_warning`)
_NULLS = "set_config('array_nulls', 'on', {0})"  # else NULL in an array of parameters would be a text
_WRITER_SETTINGS = ", ".join(
    [_NO_JIT, _WARNINGS, _NULLS, *(f"set_config('{plan}', 'off', {{0}})" for plan in _WHOLE_TABLES), _SYNCHRONOUS]
)


def prepare_writer(connection: Any, record: Any) -> None:
    """Set up a new writing connection.

    Raises ConfigurationError for another encoding than UTF-8, StorageUnavailable for unlogged tables and tables without a key.
    """
    connection.prepared_max = 1000
    connection.add_notice_handler(lambda notice: _note_warning(record.info, notice))
    _check_tables(connection)
    _set(connection, record, _WRITER_SETTINGS)


def prepare_reader(connection: Any, record: Any) -> None:
    """Set up a new read-only connection. Raises ConfigurationError for another encoding than UTF-8."""
    _set(connection, record, _NO_JIT)
    connection.read_only = True


def _set(connection: Any, record: Any, settings: str) -> None:
    """Apply settings to the session; behind a connection pooler, note them for the start of each transaction.

    A pooler gives each transaction another session, without the settings and the prepared statements of the one before.
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
    """Apply at the start of a transaction the settings that could not be applied to the session."""
    if settings := connection.info.get(_SETTINGS):
        connection.exec_driver_sql(settings)


def lock_version(connection: Connection) -> None:
    """Let one process migrate at a time, after the running transactions. Later ones wait and see the new version.

    A migration waits at most five seconds for each lock, because others wait behind it. Call it in the transaction.
    """
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
    if connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar() is not None:
        connection.exec_driver_sql("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")


def lock_packages(connection: Connection) -> None:
    """Let one transaction at a time write packages and manifests."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_PACKAGES_LOCK})")


def _check_encoding(connection: Any) -> None:
    server, client = (connection.info.parameter_status(f"{side}_encoding") for side in ("server", "client"))
    if server != "UTF8":
        raise ConfigurationError(
            f"RECEIVER_DATABASE_URL: the database has the encoding {server}; expected UTF8. "
            "Make one with CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'."
        )
    if client != "UTF8":
        raise ConfigurationError(f"RECEIVER_DATABASE_URL: client_encoding is {client}; expected UTF8, or leave it out.")


def _check_tables(connection: Any) -> None:
    """Raise StorageUnavailable for an unlogged table, which a crash empties, or one without a key (a broken restore)."""
    for name, is_unlogged in connection.execute(_UNSAFE_TABLES, [list(METADATA.tables)]).fetchall():
        if is_unlogged:
            raise StorageUnavailable(f"A crash would empty the table {name}. Run `ALTER TABLE {name} SET LOGGED`.")
        columns = ", ".join(METADATA.tables[name].primary_key.columns.keys())
        remedy = f"Restore the database completely, or run `ALTER TABLE {name} ADD CONSTRAINT pk_{name} PRIMARY KEY ({columns})`"
        raise StorageUnavailable(f"The table {name} has no primary key, so that a message could take effect twice. {remedy}.")


def explain_new_collation(connection: Connection) -> str | None:
    """Say what to do if the operating system sorts texts by other rules than when the keys were stored; None if it does not.

    With other rules, an index may not find a key that is there: a message could take effect twice. Servers before 15 cannot tell.
    """
    can_tell = connection.dialect.name == "postgresql" and (connection.dialect.server_version_info or ()) >= (15,)
    row = connection.exec_driver_sql(_COLLATIONS).first() if can_tell else None
    if row is None:
        return None
    name, stored, actual = row
    return (
        f"The server sorts texts by version {actual} of its rules, and the keys were sorted by {stored}: known messages may not "
        f'be found. Stop all receivers, run `REINDEX DATABASE "{name}"` and `ALTER DATABASE "{name}" REFRESH COLLATION VERSION`.'
    )


def _note_warning(info: dict[str, Any], notice: Any) -> None:
    if notice.severity_nonlocalized == "WARNING":
        info[_WARNING] = notice.message_primary


def take_warning(connection: Connection) -> str | None:
    """Return the last warning of the server on a writing connection since the last call of this function, or None."""
    warning: str | None = connection.info.pop(_WARNING, None)
    return warning


def check_open(connection: Connection) -> None:
    """Raise StorageUnavailable if the transaction of a writing connection has failed: its COMMIT would report no error.

    PostgreSQL answers the COMMIT of such a transaction with ROLLBACK. SQLite has no transaction any more, and says so.
    """
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "postgresql" and driver.info.transaction_status.name != "INTRANS":
        raise StorageUnavailable("An error of the database was passed over, so nothing was stored.")
