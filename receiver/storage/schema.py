"""How the tables are brought to this version. Only commands need it: what serves asks `version.py`."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.exc import SQLAlchemyError

from receiver.errors import StorageUnavailable
from receiver.storage.database import Database
from receiver.storage.version import VERSION

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> str:
    """Bring the tables to this version and return its name; the caller has taken the database. Raises StorageUnavailable."""
    config = _config()
    with database.connect_writer() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, VERSION)
        except SQLAlchemyError as error:
            raise StorageUnavailable(database.explain(error)) from None
    return VERSION


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config
