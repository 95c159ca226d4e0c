"""The metadata of all tables, and the base of their classes."""

from typing import Any

import sqlalchemy
from sqlalchemy import Index, MetaData, Text, TextClause
from sqlalchemy.types import TypeEngine
from sqlmodel import Field, SQLModel

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Table(SQLModel):
    """The base of our tables, with their own metadata."""

    metadata = METADATA
    model_config = {"defer_build": True}  # nobody validates a row, and 33 validators take time at each start


def key(kind: type[TypeEngine[str]] = Text) -> Any:
    """Return a text column of the primary key."""
    return Field(primary_key=True, sa_type=kind)


def partial_index(name: str, *columns: Any, where: TextClause) -> Index:
    """Return an index on the rows of a condition, on both databases.

    It is written down for SQLite alone: `postgresql_where` would make each command import PostgreSQL's dialect. Migrations make
    the indexes.
    """
    return Index(name, *columns, sqlite_where=where)


def table_of(model: type[Table]) -> sqlalchemy.Table:
    """Return the SQLAlchemy Core table behind a model."""
    return METADATA.tables[str(model.__tablename__)]
