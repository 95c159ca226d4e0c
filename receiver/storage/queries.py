"""What operators ask. Reads only; the API, the console and the command line all read through here."""

from sqlalchemy import select

from receiver.storage.database import Database
from receiver.storage.tables import SetupWindowTable, table_of


def setup_windows(database: Database) -> dict[str, int]:
    """Return until when each source's setup window is open, in microseconds; closed ones stay listed."""
    table = table_of(SetupWindowTable)
    with database.read() as connection:
        return {row.source: row.closes_at for row in connection.execute(select(table.c.source, table.c.closes_at))}
