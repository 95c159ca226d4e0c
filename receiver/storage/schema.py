"""How the tables are brought to this version. Only commands need it: what serves asks `version.py`."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from receiver import __version__
from receiver.errors import SchemaOutdated, StorageUnavailable
from receiver.storage.database import Database
from receiver.storage.postgresql import lock_version
from receiver.storage.version import VERSION, explain_mismatch, read_version

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> str:
    """Bring the tables to this version, in one transaction, and return their version; the caller has taken the database.

    Tables of a later version on which this program works stay as they are. Raises StorageUnavailable; SchemaOutdated where the
    tables are of a version that is not known here.
    """
    try:
        with database.connect_writer() as connection, connection.begin():
            if not database.has_one_writer:
                lock_version(connection)
            return _upgrade(connection)
    except SQLAlchemyError as error:
        raise StorageUnavailable(database.explain(error)) from None


def _upgrade(connection: Connection) -> str:
    found = read_version(connection)
    if found.version is not None and found.is_later:
        if reason := explain_mismatch(found):
            raise SchemaOutdated(reason)
        return found.version
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, VERSION)
    except CommandError:
        raise SchemaOutdated(f"The tables are of version {found.version}, which receiver {__version__} does not know.") from None
    return VERSION


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config
