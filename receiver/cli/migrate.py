"""The command `migrate`."""

import click

from receiver.cli._remote import refuse_beside_service, refuse_elsewhere
from receiver.errors import SchemaOutdated, WriterTaken
from receiver.logs import setup
from receiver.settings import load
from receiver.storage import schema, version
from receiver.storage.database import Database


@click.command()
def migrate() -> None:
    """Upgrade the database schema (safe to repeat)."""
    settings = load()
    setup.configure(settings.log_format, settings.secrets())
    database = Database(settings.database_url)
    if database.path is not None and not database.path.exists():
        refuse_elsewhere(settings)
    refuse_beside_service(settings, database)
    try:
        click.echo(f"{database}: schema version {_migrate(database)}")
    finally:
        database.close()


def _migrate(database: Database) -> str:
    """Return the version of the tables. Raises WriterTaken if they are to be changed while another process writes.

    Containers run this at each start, also beside a service: with current tables there is nothing to do.
    """
    try:
        database.take(create=True)
    except WriterTaken:
        try:
            return version.check(database)
        except SchemaOutdated:
            pass
        raise
    return schema.migrate(database)
