"""The page of quarantined messages and events, with the reason and the payload of each."""

from receiver.domain.verdicts import QUARANTINE_REASONS
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.api.parameters import QuarantineQuery, read_query
from receiver.web.console.json_tree import make_tree
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page

_MAX_ITEMS = 20  # of one page: each shows its payload


def show_quarantine(database: Database, page_request: ConsoleRequest) -> Page:
    """Show the items in quarantine, newest first."""
    query = read_query(QuarantineQuery, page_request.query, page_request.zone.info)
    limit = min(query.limit, _MAX_ITEMS)
    page = queries.list_quarantine(database, query.to_filter(), limit, query.cursor)
    items = [
        {**item, "payload": make_tree(item["raw"].encode()), "is_cut": item["raw_bytes"] > queries.SHOWN_RAW_BYTES}
        for item in page.items
    ]
    values = {
        "page": page,
        "items": items,
        "limit": limit,
        "filters": dict(page_request.query),
        "sources": NAMES,
        "reasons": QUARANTINE_REASONS,
        "states": [state for state in queries.QUARANTINE_STATES if state != "open"],
    }
    return Page("quarantine.html", "quarantine", values)
