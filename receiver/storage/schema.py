"""How the tables are brought to this version. Only commands need it: what serves asks `version.py`."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from receiver.errors import SchemaOutdated, StorageUnavailable
from receiver.storage.database import Database
from receiver.storage.version import VERSION

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> str:
    """Bring the tables to this version and return its name; the caller has taken the database.

    Raises StorageUnavailable; SchemaOutdated where they are of a version that is not known here.
    """
    config = _config()
    with database.connect_writer() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, VERSION)
        except CommandError:
            raise SchemaOutdated("The tables are of a newer version than this program. Install that one again.") from None
        except SQLAlchemyError as error:
            raise StorageUnavailable(database.explain(error)) from None
    return VERSION


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config
