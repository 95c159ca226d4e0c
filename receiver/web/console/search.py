"""The search of every page: one hit opens its page, several are listed by kind."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from receiver.monitoring.search import search_everything
from receiver.storage.database import Database
from receiver.web.api.parameters import SearchQuery, read_query
from receiver.web.console import links
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page
from receiver.web.console.rendering import redirect


def search(database: Database, page_request: ConsoleRequest) -> Page | Response:
    """Open the page of the only hit, or show all hits."""
    if not page_request.query:
        return redirect(links.HOME)
    query = read_query(SearchQuery, page_request.query)
    found = search_everything(database, query.q, query.limit)
    hits = found.hits()
    if len(hits) == 1:
        return redirect(_to_hit(*hits[0]))
    return Page("search.html", "", {"wanted": query.q, "found": found})


def _to_hit(kind: str, row: Mapping[str, Any]) -> str:
    if kind == "tracker":
        return links.to_tracker(row["source"], row["tracker_id"])
    if kind == "message":
        return links.to_message(row["message_id"])
    return links.to_delivery(row["id"]) if kind == "delivery" else links.to_customer(row["UserCode"])
