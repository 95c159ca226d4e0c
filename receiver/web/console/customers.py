"""The page of the customer list that Shiipp gets: its size, its recent downloads, the search in it, and the list as a file."""

from codecs import BOM_UTF8

from starlette.responses import Response

from receiver.domain.customers import write_csv
from receiver.storage.customers import (
    last_syncs,
    latest_customer_list,
    list_customer_lists,
    read_customers,
    require_customer_list,
    search_customers,
)
from receiver.storage.database import Database
from receiver.web.api.parameters import CustomersQuery, read_query
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page
from receiver.web.console.rendering import attach

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


def download_customers(database: Database, _page_request: ConsoleRequest) -> Response:
    """Return the list as a CSV file that the import takes. Raises NotFound if none was imported yet."""
    listed = read_customers(database, require_customer_list(database).id)
    return attach(BOM_UTF8 + write_csv(listed).encode(), "customers.csv")  # with the mark, spreadsheets read UTF-8
