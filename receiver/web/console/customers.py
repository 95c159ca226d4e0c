"""The customer list that Shiipp fetches: its state, who fetched it, and what it says of one customer."""

from receiver.domain.storable import make_storable
from receiver.domain.trimming import trim
from receiver.storage.customers import find_customer, last_syncs, latest_customer_list
from receiver.storage.database import Database
from receiver.web.console.guard import Visit
from receiver.web.console.json_tree import fold
from receiver.web.console.pages import Page

_SYNCS = 20


class CustomerPages:
    """The page."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def show(self, visit: Visit) -> Page:
        """Show the state of the list, and the customer with the user code that was searched for."""
        wanted = make_storable(trim(dict(visit.query).get("user_code", "")))
        served = latest_customer_list(self._database)
        document = find_customer(self._database, served.id, wanted) if served is not None and wanted else None
        found = None if document is None else fold(document.encode())
        syncs = last_syncs(self._database, _SYNCS)
        return Page(
            "customers.html", {"section": "customers", "served": served, "syncs": syncs, "wanted": wanted, "found": found}
        )
