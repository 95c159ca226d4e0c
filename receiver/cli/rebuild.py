"""The command `rebuild`."""

from contextlib import closing
from datetime import timedelta
from functools import partial

import click

from receiver.cli._errors import complain
from receiver.cli._options import Text
from receiver.cli._output import advancing, show_table, until_interrupted
from receiver.cli._reading import reading
from receiver.errors import ConfigurationError, ReceiverError
from receiver.maintenance.comparison import compare
from receiver.maintenance.rebuild import Rebuild, check_empty
from receiver.settings import Settings, load
from receiver.sources.intake import parse_stored
from receiver.storage import schema
from receiver.storage.database import Database

_INCOMPLETE = "Stopped: {target} is incomplete. Empty it and start again."


@click.command()
@click.option("--into", "url", type=Text(), required=True, metavar="URL", help="An empty database. Its tables are created.")
def rebuild(url: str) -> None:
    """Rebuild the database from stored deliveries.

    Reprocesses all stored deliveries in their original order, with the current settings. Targets get no changes. Results of
    deliveries whose bodies are pruned are copied, as is all data that does not come from deliveries.
    """
    settings = load()
    target = _open(url, settings)
    try:
        with reading(settings) as database:
            target.take(create=True)
            check_empty(target)
            schema.migrate(target)
            _rebuild(settings, database, target)
    finally:
        target.close()


def _open(url: str, settings: Settings) -> Database:
    try:
        target = Database(url)
    except ConfigurationError as error:
        raise ConfigurationError(error.message.replace("RECEIVER_DATABASE_URL", "--into")) from None
    database = Database(settings.database_url)
    if target.url == database.url or (target.path and database.path and target.path.resolve() == database.path.resolve()):
        raise ConfigurationError("--into: expected another, empty database; this is the one to read from.")
    return target


def _rebuild(settings: Settings, database: Database, target: Database) -> None:
    take, max_future = partial(parse_stored, settings.sources()), timedelta(hours=settings.max_future_hours)
    with database.read_snapshot() as source, closing(Rebuild(source, target, take, max_future)) as work:
        with advancing("rebuilding", work.count_deliveries()) as advance, until_interrupted() as interrupted:
            try:
                for deliveries in work.run():
                    advance(deliveries)
                    if interrupted():
                        raise KeyboardInterrupt
                work.copy_rest()
            except (ReceiverError, KeyboardInterrupt):
                complain(_INCOMPLETE.format(target=target))
                raise
        found = list(compare(source, target))
        target.close_readers()  # SQLite empties the WAL only when the writing connection closes last
    columns = ("table", "before", "after", "differing")
    show_table(columns, ((*row[:3], "-" if row.differing is None else row.differing) for row in found), numbers=columns[1:])
    differing = sum(row.differing or abs(row.after - row.before) for row in found)
    click.echo(f"{target} has the same content." if not differing else f"{differing} rows of {target} differ.")
