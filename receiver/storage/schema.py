"""Migration of the tables to this version. Only commands import this module; the service only checks the version (`version`)."""

from collections.abc import Callable
from math import ceil
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from receiver import __version__
from receiver.errors import SchemaOutdated, StorageUnavailable
from receiver.storage.database import Database
from receiver.storage.faults import Fault, find_fault, is_disk_full
from receiver.storage.postgresql import lock_version
from receiver.storage.version import VERSION, explain_mismatch, read_version

_ATTEMPTS = 10
_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> str:
    """Migrate the tables to this version; return their version. The caller has locked the database (`Database.take`).

    Migrations share a transaction, up to the next one that fills rows (`fill`). Rows are filled in pieces, each in its own
    transaction, so that a service of the previous version never waits long. After an interruption the next call continues
    there.

    No program of an earlier version can run beside this one (`is_alone`) on a database with one writer, and on tables that are
    made now. Tables of a later, supported version stay as they are. Raises StorageUnavailable, or SchemaOutdated for tables of an
    unknown version.
    """
    scripts = ScriptDirectory(str(_SCRIPTS))
    filling = [script.revision for script in scripts.walk_revisions() if hasattr(script.module, "fill")]
    version = VERSION
    try:
        with database.connect_writer() as connection:
            is_alone = database.has_one_writer or read_version(connection).version is None
            connection.rollback()  # the version was only read
            for stop in [*reversed(filling), VERSION]:
                version = _upgrade_again(database, connection, stop, is_alone=is_alone)
                if version == stop and stop in filling:
                    _fill(connection, scripts.get_revision(stop).module.fill)
    except SQLAlchemyError as error:
        raise StorageUnavailable(_explain(database, error)) from None
    return version


def _explain(database: Database, error: SQLAlchemyError) -> str:
    """Return one line about an error. That of a full disk says how much room a migration may need."""
    reason = database.explain(error)
    if database.path is None or not is_disk_full(error):
        return reason
    megabytes = ceil(1.5 * database.path.stat().st_size / 1_000_000)
    return f"{reason}. Make room for up to {megabytes:,} MB, one and a half times the size of the file, and migrate again."


def _upgrade_again(database: Database, connection: Connection, to: str, *, is_alone: bool) -> str:
    """Migrate the tables to a version; retry after a deadlock with a running service.

    No lock order avoids that: receivers start with trackers, relays with dispatches.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _upgrade(database, connection, to, is_alone=is_alone)
        except SQLAlchemyError as error:
            if find_fault(error) is not Fault.RACE:
                raise
    return _upgrade(database, connection, to, is_alone=is_alone)


def _upgrade(database: Database, connection: Connection, to: str, *, is_alone: bool) -> str:
    """Migrate the tables to a version unless theirs is later; return their version."""
    with connection.begin():
        if not database.has_one_writer:
            lock_version(connection)
        found = read_version(connection)
        if found.is_later and (reason := explain_mismatch(found)):
            raise SchemaOutdated(reason)
        if found.version is not None and found.version >= to:
            return found.version
        config = _config()
        config.attributes.update(connection=connection, is_alone=is_alone)
        try:
            command.upgrade(config, to)
        except CommandError:
            message = f"The tables are of version {found.version}, which receiver {__version__} does not know."
            raise SchemaOutdated(message) from None
    return to


def _fill(connection: Connection, fill: Callable[[Connection, str], str | None]) -> None:
    """Fill rows in pieces: `fill` gets the last key that is done and returns the next such key, or None at the end."""
    reached: str | None = ""
    while reached is not None:
        with connection.begin():
            reached = fill(connection, reached)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config
