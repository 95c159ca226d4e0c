"""The page of the customer list that Shiipp gets: its size, its recent downloads, and the search in it."""

from receiver.storage.customers import last_syncs, latest_customer_list, list_customer_lists, search_customers
from receiver.storage.database import Database
from receiver.web.api.parameters import CustomersQuery, read_query
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page

_SYNCS = 20


def show_customers(database: Database, page_request: ConsoleRequest) -> Page:
    """Show the customers that match the query, the state of the list, and its recent downloads."""
    query = read_query(CustomersQuery, page_request.query)
    latest = latest_customer_list(database)
    page = search_customers(database, latest.id, query.q or "", query.limit, query.cursor) if latest is not None else None
    earlier = list_customer_lists(database)[1:]
    values = {
        "latest": latest,
        "earlier": earlier,
        "syncs": last_syncs(database, _SYNCS),
        "wanted": query.q,
        "page": page,
        "limit": query.limit,
    }
    return Page("customers.html", "customers", values)
