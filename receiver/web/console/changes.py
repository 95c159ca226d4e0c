"""The page with the list of changes for targets."""

from collections.abc import Sequence
from functools import partial

from receiver.relay.assembly import ConfiguredTarget, target_names
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.api.parameters import ChangesQuery, read_query
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page


def list_changes(database: Database, targets: Sequence[ConfiguredTarget], page_request: ConsoleRequest) -> Page:
    """Show changes with their states: failing, dead, waiting and delivered ones."""
    query = read_query(ChangesQuery, page_request.query, page_request.zone.info)
    read = partial(queries.list_changes, database, query.to_filter(database))
    page = read(query.limit, query.cursor)
    total = queries.count_items(read, page) if query.cursor is None else None
    values = {"page": page, "total": total, "limit": query.limit, "filters": dict(page_request.query), "sources": NAMES}
    choices = {"states": queries.STATE_FILTERS, "target_names": queries.list_target_names(database, target_names(targets))}
    return Page("changes.html", "targets", values | choices)
