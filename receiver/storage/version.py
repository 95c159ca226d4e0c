"""Which version of the tables there is, without what it takes to change it."""

from sqlalchemy import Column, Connection, MetaData, Table, Text, inspect, select

from receiver.errors import SchemaOutdated
from receiver.storage.database import Database

VERSION = "0010"
"""The newest migration."""

_TABLE = Table("alembic_version", MetaData(), Column("version_num", Text))  # Alembic's own


def is_current(connection: Connection) -> bool:
    """Tell whether the tables are those of this version."""
    if not inspect(connection).has_table(_TABLE.name):
        return False
    return connection.scalars(select(_TABLE.c.version_num)).all() == [VERSION]


def check(database: Database) -> None:
    """Raise SchemaOutdated if the tables are not those of this version, StorageUnavailable if there is no database."""
    with database.read() as connection:
        if not is_current(connection):
            raise SchemaOutdated("The tables are not those of this version. Run `receiver migrate` first.")
