"""The version of the tables, and a check that this program supports it. `schema` changes the version.

Tables of a later version may be supported: each migration names the oldest program that works on its tables (`compatible_from`,
recorded in `table_versions`). Tables of an earlier version are never supported.
"""

from typing import NamedTuple

from sqlalchemy import Column, Connection, MetaData, Table, Text, inspect, select

from receiver import __version__
from receiver.errors import NoDatabase, SchemaOutdated, StorageUnavailable
from receiver.storage import driver
from receiver.storage.database import Database
from receiver.storage.missing import explain_replaced
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import TableVersionTable

VERSION = "0033"
"""The newest migration."""

_PACKED_SINCE = "0032"
"""The first version whose programs read packed bodies."""

_CURRENT = Table("alembic_version", MetaData(), Column("version_num", Text))  # Alembic's own
_SELECT_CURRENT = f"SELECT version_num FROM {_CURRENT.name}"  # noqa: S608  a name of ours


class FoundVersion(NamedTuple):
    """The version of the tables in a database (None: there are no tables), with its record if there is one."""

    version: str | None
    compatible_from: str | None = None
    program: str | None = None

    @property
    def has_packed_bodies(self) -> bool:
        """Tell whether the tables can hold packed bodies (migration 0032)."""
        return self.version is not None and self.version >= _PACKED_SINCE

    @property
    def is_later(self) -> bool:
        """Tell whether the tables are of a later version than this program's."""
        return self.version is not None and self.version > VERSION


class VersionCheck:
    """A check at the start of each writing transaction: another process may migrate the tables while this one runs.

    The race: a migration between this check and the commit. On PostgreSQL the query holds a lock on the version until the
    transaction ends, and a migration waits for that lock first; a SQLite file has one writing process.
    """

    def __init__(self) -> None:
        self._served: set[str | None] = {VERSION}

    def check(self, connection: Connection) -> None:
        """Raise SchemaOutdated if this program does not support the tables."""
        (current,) = next(iter(driver.run(connection, _SELECT_CURRENT).fetchall()), (None,))
        if current not in self._served:
            found = read_version(connection)
            _check(found)
            self._served.add(found.version)


def read_version(connection: Connection) -> FoundVersion:
    """Return the version of the tables."""
    present = inspect(connection)
    if not present.has_table(_CURRENT.name):
        return FoundVersion(None)
    version = connection.scalars(select(_CURRENT.c.version_num)).first()
    recorded = table_of(TableVersionTable)
    if not present.has_table(recorded.name):
        return FoundVersion(version)
    columns = (recorded.c.compatible_from, recorded.c.program)
    row = connection.execute(select(*columns).where(recorded.c.version == version)).first()
    return FoundVersion(version) if row is None else FoundVersion(version, *row)


def explain_mismatch(found: FoundVersion) -> str | None:
    """Return the reason why this program does not support the tables, with the remedy; None if it does."""
    if found.version == VERSION:
        return None
    if found.version is None:
        return "The database has no tables yet. Run `receiver migrate` first."
    if not found.is_later:
        return f"The tables are of version {found.version}, expected {VERSION}. Run `receiver migrate` first."
    if found.compatible_from is not None and found.compatible_from <= VERSION:
        return None
    program = f"receiver {found.program}" if found.program else "a later version of receiver"
    return (
        f"The tables are of version {found.version}, made by {program}; this is receiver {__version__} for version {VERSION}. "
        f"Install {program} again, or restore a copy of the database from before the upgrade."
    )


def may_pack(connection: Connection) -> bool:
    """Tell whether all programs that work on the tables read packed bodies (migration 0032)."""
    return (read_version(connection).compatible_from or "") >= _PACKED_SINCE


def is_served(connection: Connection) -> bool:
    """Tell whether this program supports the tables."""
    return explain_mismatch(read_version(connection)) is None


def check(database: Database) -> str:
    """Return the version of the tables.

    Raises SchemaOutdated if this program does not support them, StorageUnavailable if there is no database.
    """
    try:
        with database.read() as connection:
            return _check(read_version(connection))
    except StorageUnavailable:
        database.close_readers()
        if database.path is not None and (lost := explain_replaced(database.path)):
            raise lost from None
        raise


def _check(found: FoundVersion) -> str:
    if reason := explain_mismatch(found):
        raise (NoDatabase if found.version is None else SchemaOutdated)(reason)
    assert found.version is not None, "it is supported"
    return found.version
