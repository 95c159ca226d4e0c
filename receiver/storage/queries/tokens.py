"""Tokens: their last uses, since when they are in the settings, and those that were removed."""

from collections.abc import Iterable

from sqlalchemy import select

from receiver.domain.tokens import RemovedToken, TokenUse
from receiver.storage.database import Database
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import KnownTokenTable, TokenUseTable


def token_uses(database: Database) -> dict[tuple[str, str], int]:
    """Return the last use of each token, by source and name, in microseconds, to the minute."""
    table = table_of(TokenUseTable)
    with database.read() as connection:
        return {(row.source, row.token): row.last_used_at for row in connection.execute(select(table))}


def describe_tokens(database: Database, source: str, tokens: Iterable[tuple[str, str | None]]) -> list[TokenUse]:
    """Return what is known of the tokens of a source (`ops`: of operators), given by name and fingerprint.

    A use belongs to the token that had the name then. So a use before the first start with this token, or while no service has
    started with it yet, does not count if the name belonged to another token earlier. A token without a fingerprint is
    never known: all uses of its name count.
    """
    table = table_of(KnownTokenTable)
    uses = token_uses(database)
    with database.read() as connection:
        rows = connection.execute(select(table).where(table.c.source == source)).all()
    since = {row.fingerprint: row.first_seen_at for row in rows}
    found = []
    for name, fingerprint in tokens:
        known_since = since.get(fingerprint)
        used_at = uses.get((source, name))
        is_reused = any(row.token == name and row.fingerprint != fingerprint for row in rows)
        is_of_another = is_reused and fingerprint is not None and (known_since is None or (used_at or 0) < known_since)
        found.append(TokenUse(name, known_since, None if is_of_another else used_at))
    return found


def removed_tokens(database: Database) -> list[RemovedToken]:
    """Return the tokens that were removed from the settings, the last one first."""
    table = table_of(KnownTokenTable)
    columns = (table.c.source, table.c.token, table.c.fingerprint, table.c.removed_at)
    removed = select(*columns).where(table.c.removed_at.is_not(None)).order_by(table.c.removed_at.desc())
    with database.read() as connection:
        return [RemovedToken(*row) for row in connection.execute(removed)]
