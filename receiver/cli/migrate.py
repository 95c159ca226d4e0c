"""The command `migrate`."""

import click

from receiver.cli._remote import refuse_beside_service, refuse_elsewhere
from receiver.logs import setup
from receiver.settings import load
from receiver.storage import schema
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
    database.take(create=True)
    try:
        click.echo(f"{database}: schema version {schema.migrate(database)}")
    finally:
        database.close()
