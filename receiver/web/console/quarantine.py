"""What was set apart, with its bytes and the reason."""

from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.api.parameters import QuarantineQuery, read_query
from receiver.web.console.guard import Visit
from receiver.web.console.json_tree import fold
from receiver.web.console.pages import Page

REASONS = (
    *("not_an_object", "too_deep", "missing_message_id", "missing_tracker_id", "events_not_a_list", "missing_occurrence"),
    *("bad_occurrence", "implausible_future", "unmapped", "undecidable"),
)
_LIMIT = 20  # each item shows its content


class QuarantinePages:
    """The page."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def show(self, visit: Visit) -> Page:
        """Show items in quarantine, newest first."""
        asked = read_query(QuarantineQuery, visit.query)
        limit = min(asked.limit, _LIMIT)
        page = queries.list_quarantine(self._database, asked.source, asked.reason, limit, asked.cursor)
        items = [{**item, "content": fold(item["raw"].encode())} for item in page.items]
        values = {"page": page, "items": items, "limit": limit, "filters": dict(visit.query), "sources": NAMES}
        return Page("quarantine.html", {"section": "quarantine", "reasons": REASONS, **values})
