"""A database whose rows a test sets directly, and a walk through all pages of a list."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from sqlalchemy import Table, insert

from receiver.storage.database import Database
from receiver.storage.queries import ResultPage
from receiver.storage.tables.metadata import METADATA
from tests.harness.rows import find_filled
from tests.harness.storage import LASTING, make_tables
from tests.harness.store import Store

_MAX_PAGES = 1000


class Archive:
    """A database with tables."""

    def __init__(self, url: str) -> None:
        make_tables(url)
        self.url = url
        self.database = Database(url)

    @cached_property
    def store(self) -> Store:
        """An inbox, the same for all examples of a test: a new one would compile all its statements again.

        What it counts goes on from example to example.
        """
        return Store(self.url)

    def close(self) -> None:
        if "store" in self.__dict__:
            self.store.close()
        self.database.close()

    def clear(self) -> None:
        """Remove all rows, on the inbox's connection if it is open: a new one costs more than the statements."""
        if "store" in self.__dict__:
            self.store.clear()
            return
        with self.database.connect_writer() as connection, connection.begin():
            for name in find_filled(connection.exec_driver_sql, METADATA.tables.keys() - LASTING):
                connection.execute(METADATA.tables[name].delete())

    def add(self, table: Table, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows; columns that are not given are NULL, or empty where they cannot be."""
        full = [{column.name: row.get(column.name, _blank(column)) for column in table.columns} for row in rows]
        if full:
            with self.database.connect_writer() as connection, connection.begin():
                connection.execute(insert(table), full)


def _blank(column: Any) -> object:
    return None if column.nullable else column.type.python_type()


@contextmanager
def archive_at(url: str) -> Iterator[Archive]:
    """Give an archive in an empty database."""
    archive = Archive(url)
    try:
        yield archive
    finally:
        archive.close()


def walk(ask: Callable[[int, str | None], ResultPage], limit: int) -> list[dict[str, Any]]:
    """Return the items of all pages."""
    items: list[dict[str, Any]] = []
    cursor = None
    for _ in range(_MAX_PAGES):
        page = ask(limit, cursor)
        assert len(page.items) <= limit
        items += page.items
        cursor = page.next
        if cursor is None:
            return items
    raise AssertionError("the pages do not end")
