"""Access to the database for commands that only read. Imports nothing that only a change needs, so that a list begins fast."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from receiver.errors import UnexpectedShape
from receiver.settings import Settings, load
from receiver.storage import version
from receiver.storage.database import Database


@contextmanager
def reading(settings: Settings | None = None) -> Iterator[Database]:
    """Give the database for reading. Raises SchemaOutdated or StorageUnavailable, and UsageError for an invalid cursor."""
    database = Database((settings or load()).database_url)
    try:
        version.check(database)
        yield database
    except UnexpectedShape as error:
        raise click.UsageError(error.message, click.get_current_context()) from None
    finally:
        database.close()
