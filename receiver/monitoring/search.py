"""One search for everything: trackers, messages, deliveries and customers, for the API, the console and the command line."""

from typing import Any, NamedTuple

from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.customers import find_customers, latest_customer_list, search_customers
from receiver.storage.database import Database

Rows = list[dict[str, Any]]


class SearchResult(NamedTuple):
    """What a text has found. `is_exact`: everything in it has the text as a number, an id, a reference or a code.

    `has_more` tells whether a group has more rows than the limit.
    """

    trackers: Rows
    messages: Rows
    deliveries: Rows
    customers: Rows
    is_exact: bool
    has_more: bool = False

    def hits(self) -> list[tuple[str, dict[str, Any]]]:
        """Return all rows, each with the name of its kind."""
        groups = {"tracker": self.trackers, "message": self.messages, "delivery": self.deliveries, "customer": self.customers}
        return [(kind, row) for kind, rows in groups.items() for row in rows]

    def cut(self, limit: int) -> "SearchResult":
        """Return the result with at most `limit` rows of a kind."""
        groups = (self.trackers, self.messages, self.deliveries, self.customers)
        trackers, messages, deliveries, customers = (rows[:limit] for rows in groups)
        has_more = any(len(rows) > limit for rows in groups)
        return SearchResult(trackers, messages, deliveries, customers, self.is_exact, has_more)

    def as_json(self) -> dict[str, Any]:
        """Return the result as the API shows it."""
        return self._asdict()


def search_everything(database: Database, text: str, limit: int) -> SearchResult:
    """Return what has a text as its number, id, SOURCE/ID, reference or code, in any case.

    If nothing has, return what starts with it, and the trackers whose number, id or reference ends with it. At most `limit`
    rows of each kind.
    """
    found = _find_equal(database, text, limit + 1)
    return (found if found.hits() else _find_similar(database, text, limit + 1)).cut(limit)


def _find_equal(database: Database, text: str, limit: int) -> SearchResult:
    trackers = queries.list_trackers(database, queries.TrackerFilter(text, exact=True), limit).items
    source, _, tracker_id = text.partition("/")
    if source in NAMES:
        trackers += queries.list_trackers(database, queries.TrackerFilter(tracker_id, source, exact=True), limit).items
    messages = queries.find_messages(database, text, NAMES, limit)
    latest = latest_customer_list(database)
    customers = find_customers(database, latest.id, {text, text.upper(), text.lower()}) if latest is not None else []
    deliveries = queries.find_deliveries(database, text, limit, is_whole=True)
    return SearchResult(trackers, messages, deliveries, customers, is_exact=True)


def _find_similar(database: Database, text: str, limit: int) -> SearchResult:
    starting = queries.list_trackers(database, queries.TrackerFilter(text), limit).items
    known = {(row["source"], row["tracker_id"]) for row in starting}
    ending = [row for row in queries.list_by_ending(database, text, limit) if (row["source"], row["tracker_id"]) not in known]
    latest = latest_customer_list(database)
    customers = search_customers(database, latest.id, text, limit, None).items if latest is not None else []
    messages = queries.find_starting_messages(database, text, NAMES, limit)
    deliveries = queries.find_deliveries(database, text, limit)
    return SearchResult(starting + ending, messages, deliveries, customers, is_exact=False)
