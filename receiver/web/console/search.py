"""The search of every page: one hit opens its page, several are listed by kind; a time leads to its deliveries."""

import re
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from starlette.responses import Response

from receiver.clock import iso
from receiver.domain.time_inputs import read_time_input
from receiver.monitoring.search import search_everything
from receiver.storage.database import Database
from receiver.web.api.parameters import SearchQuery, read_query
from receiver.web.console import links
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page
from receiver.web.console.rendering import redirect

_TIME = re.compile(r"(?:(?:today|yesterday|\d{4}-\d\d-\d\d)[ T])?\d\d?:\d\d", re.ASCII | re.IGNORECASE)
_MINUTE = 60_000_000  # microseconds


def search(database: Database, page_request: ConsoleRequest) -> Page | Response:
    """Open the page of the only hit or the deliveries of a minute, or show all hits."""
    if not page_request.query:
        return redirect(links.HOME)
    query = read_query(SearchQuery, page_request.query)
    found = search_everything(database, query.q, query.limit)
    hits = found.hits()
    if len(hits) == 1:
        return redirect(_to_hit(*hits[0]))
    minute = None if hits else find_minute(query.q, page_request.now, page_request.zone.info)
    if minute is not None:
        return redirect(links.to_deliveries(iso(minute), iso(minute + _MINUTE), page_request.zone))
    return Page("search.html", "", {"wanted": query.q, "found": found})


def find_minute(text: str, now: datetime, zone: tzinfo) -> int | None:
    """Return the minute that a text names, such as `14:03` or `yesterday 14:03`, in microseconds; None for any other text."""
    if _TIME.fullmatch(text) is None:
        return None
    try:
        return read_time_input(text, now, zone)
    except ValueError:
        return None


def _to_hit(kind: str, row: Mapping[str, Any]) -> str:
    if kind == "tracker":
        return links.to_tracker(row["source"], row["tracker_id"])
    if kind == "message":
        return links.to_message(row["message_id"])
    return links.to_delivery(row["id"]) if kind == "delivery" else links.to_customer(row["UserCode"])
