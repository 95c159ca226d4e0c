"""The page of the customer list that Shiipp downloads: its size, its recent downloads, and the search for one customer."""

from receiver.domain.storable import make_storable
from receiver.domain.trimming import trim
from receiver.storage.customers import find_customer, last_syncs, latest_customer_list
from receiver.storage.database import Database
from receiver.web.console.json_tree import make_tree
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page

_SYNCS = 20


def show_customers(database: Database, page_request: ConsoleRequest) -> Page:
    """Show the state of the list, its recent downloads, and the customer with the code in the query."""
    wanted = make_storable(trim(dict(page_request.query).get("user_code", "")))
    latest = latest_customer_list(database)
    document = find_customer(database, latest.id, wanted) if latest is not None and wanted else None
    found = None if document is None else make_tree(document.encode())
    values = {"latest": latest, "syncs": last_syncs(database, _SYNCS), "wanted": wanted, "found": found}
    return Page("customers.html", "customers", values)
