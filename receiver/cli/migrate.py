"""The tables are brought to this version."""

import click

from receiver import logs
from receiver.settings import load
from receiver.storage import schema
from receiver.storage.database import Database


@click.command()
def migrate() -> None:
    """Upgrade the database schema (safe to repeat)."""
    settings = load()
    logs.configure(settings.log_format, settings.secrets())
    database = Database(settings.database_url)
    database.take(create=True)
    try:
        click.echo(f"{database} is at version {schema.migrate(database)}")
    finally:
        database.close()
