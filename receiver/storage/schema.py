"""How the tables are brought to this version. Only commands need it: what serves asks `version.py`."""

from collections.abc import Callable
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
from receiver.storage.faults import Fault, find_fault
from receiver.storage.postgresql import lock_version
from receiver.storage.version import VERSION, explain_mismatch, read_version

_ATTEMPTS = 10
_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> str:
    """Bring the tables to this version and return their version; the caller has taken the database.

    Migrations share a transaction up to the next one that fills rows (`fill`). That happens in pieces, each in a transaction of
    its own: a service of the version before waits for no more than one. The next call goes on where this one is interrupted.

    Tables of a later version on which this program works stay as they are. Raises StorageUnavailable; SchemaOutdated where the
    tables are of a version that is not known here.
    """
    scripts = ScriptDirectory(str(_SCRIPTS))
    filling = [script.revision for script in scripts.walk_revisions() if hasattr(script.module, "fill")]
    version = VERSION
    try:
        with database.connect_writer() as connection:
            for stop in [*reversed(filling), VERSION]:
                version = _upgrade_again(database, connection, stop)
                if version == stop and stop in filling:
                    _fill(connection, scripts.get_revision(stop).module.fill)
    except SQLAlchemyError as error:
        raise StorageUnavailable(database.explain(error)) from None
    return version


def _upgrade_again(database: Database, connection: Connection, to: str) -> str:
    """Bring the tables to a version; begin anew where a service and the migration wait for each other's tables.

    Nobody can lock the tables in the order of all others: receivers begin with trackers, relays with dispatches.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _upgrade(database, connection, to)
        except SQLAlchemyError as error:
            if find_fault(error) is not Fault.RACE:
                raise
    return _upgrade(database, connection, to)


def _upgrade(database: Database, connection: Connection, to: str) -> str:
    """Bring the tables to a version, unless theirs is later; return their version."""
    with connection.begin():
        if not database.has_one_writer:
            lock_version(connection)
        found = read_version(connection)
        if found.is_later and (reason := explain_mismatch(found)):
            raise SchemaOutdated(reason)
        if found.version is not None and found.version >= to:
            return found.version
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, to)
        except CommandError:
            message = f"The tables are of version {found.version}, which receiver {__version__} does not know."
            raise SchemaOutdated(message) from None
    return to


def _fill(connection: Connection, fill: Callable[[Connection, str], str | None]) -> None:
    """Fill rows piece by piece: `fill` takes the key after which it goes on, and returns the one it reached, or None."""
    reached: str | None = ""
    while reached is not None:
        with connection.begin():
            reached = fill(connection, reached)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config
