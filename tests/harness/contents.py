"""All that a database holds, to compare it with what it held before or with another one."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import select

from receiver.storage import operations, outbox  # noqa: F401  their tables belong to the metadata
from receiver.storage.database import Database
from receiver.storage.tables import METADATA

Contents = dict[str, list[tuple[Any, ...]]]


def contents(url: str, without: Collection[str] = ()) -> Contents:
    """Return the rows of every table, sorted; `without` names tables, or columns as `table.column`, that are left out."""
    database = Database(url)
    try:
        with database.read() as connection:
            found = {}
            for table in METADATA.sorted_tables:
                if table.name not in without:
                    columns = [column for column in table.columns if f"{table.name}.{column.name}" not in without]
                    rows = [tuple(row) for row in connection.execute(select(*columns))]
                    found[table.name] = sorted(rows, key=repr)
            return found
    finally:
        database.close()


def differing(one: Contents, other: Contents) -> set[str]:
    """Return the names of the tables whose rows differ."""
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
