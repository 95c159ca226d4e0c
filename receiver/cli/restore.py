"""The command `restore`."""

from pathlib import Path

import click

from receiver import clock
from receiver.cli._output import advancing, until_interrupted
from receiver.cli._remote import audit_entry, writing
from receiver.cli.backup import show_copy
from receiver.errors import ConfigurationError
from receiver.maintenance import restore as use_case
from receiver.settings import Settings, load
from receiver.storage.database import Database
from receiver.storage.version import VERSION
from receiver.writer.commands.operators import AddAuditEntry


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def restore(file: Path) -> None:
    """Put a copy in the place of the SQLite database.

    FILE is a copy that `backup` made; it is checked. Stop the service first. The files of the database are moved into a folder
    beside it, with their WAL.
    """
    settings = load()
    path = Database(settings.database_url).path
    if path is None:
        raise ConfigurationError("The database is not a SQLite file. Restore it with pg_restore or psql.")
    size_bytes = file.stat().st_size if file.exists() else 0
    with until_interrupted() as interrupted, advancing("copying", size_bytes) as advance:
        done = use_case.restore(path, file, advance, interrupted)
    show_copy(file, done.facts)
    if done.aside is not None:
        click.echo(f"The files that were there before are in {done.aside}.")
    is_current = done.facts.version.version == VERSION
    if is_current:
        _audit(settings, file)
    click.echo(f"Restored {path}. {'S' if is_current else 'Run `receiver migrate`, then s'}tart the service.")
    click.echo("What arrived after the copy was made is missing in it.")


def _audit(settings: Settings, file: Path) -> None:
    with writing(settings) as executor:
        executor.do(AddAuditEntry(audit_entry(clock.now(), "restore", str(file), None)))
