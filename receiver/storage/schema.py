"""Which version of the tables there is, and how to bring them to this one."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from receiver.errors import SchemaOutdated, StorageUnavailable
from receiver.storage.database import Database

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> str:
    """Bring the tables to this version and return its name; the caller has taken the database. Raises StorageUnavailable."""
    config = _config()
    with database.connect_writer() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except SQLAlchemyError as error:
            raise StorageUnavailable(database.explain(error)) from None
    return _head()


def is_current(connection: Connection) -> bool:
    """Tell whether the tables are those of this version."""
    return MigrationContext.configure(connection).get_current_revision() == _head()


def check(database: Database) -> None:
    """Raise SchemaOutdated if the tables are not those of this version, StorageUnavailable if there is no database."""
    with database.read() as connection:
        if not is_current(connection):
            raise SchemaOutdated("The tables are not those of this version. Run `receiver migrate` first.")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config


@cache
def _head() -> str:
    return str(ScriptDirectory.from_config(_config()).get_current_head())
