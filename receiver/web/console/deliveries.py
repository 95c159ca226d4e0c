"""The pages of deliveries: the list, one delivery, and the exact bytes of its request and response."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
from starlette.responses import Response

from receiver.domain.imports import ORIGINS
from receiver.domain.verdicts import DELIVERY_OUTCOMES
from receiver.errors import NotFound
from receiver.monitoring.explain import explain_failure, explain_import
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.api.parameters import DeliveriesQuery, read_query
from receiver.web.console import links
from receiver.web.console.copying import read_body_text, write_curl
from receiver.web.console.json_tree import make_tree
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page
from receiver.web.console.rendering import attach

_MAX_ITEMS = 200  # messages that one page shows


def list_deliveries(database: Database, page_request: ConsoleRequest) -> Page:
    """Show deliveries, newest first."""
    query = read_query(DeliveriesQuery, page_request.query, page_request.zone.info)
    read = partial(queries.list_deliveries, database, query.to_filter(), NAMES)
    page = read(query.limit, query.cursor)
    total = queries.count_items(read, page) if query.cursor is None else None
    values = {
        "page": page,
        "total": total,
        "limit": query.limit,
        "filters": dict(page_request.query),
        "sources": NAMES,
        "outcomes": DELIVERY_OUTCOMES,
        "origins": ORIGINS,
    }
    return Page("deliveries.html", "deliveries", values)


def show_delivery(database: Database, page_request: ConsoleRequest) -> Page:
    """Show a request as received, the response, and the reason for it. Raises NotFound."""
    query = read_query(DeliveriesQuery, page_request.query, page_request.zone.info)
    stored = queries.show_delivery(database, page_request.path["delivery_id"])
    neighbours = queries.find_delivery_neighbours(database, query.to_filter(), NAMES, stored.row["id"])
    values = {
        "delivery": stored.row,
        "neighbours": [one and links.to_delivery(one["id"], page_request.query) for one in neighbours],
        "took_ms": took_ms(stored.row),
        "headers": stored.headers,
        "sentences": explain_import(stored.row) or explain_failure(stored.row),
        "items": stored.items[:_MAX_ITEMS],
        "left_items": max(0, len(stored.items) - _MAX_ITEMS),
        "body": None if stored.body is None else make_tree(stored.body),
        "answer": None if stored.answer is None else make_tree(stored.answer),
        "answer_bytes": len(stored.answer or b""),
        "body_text": read_body_text(stored.body or b""),
        "curl": write_curl(stored.row, stored.headers, stored.body, page_request.base_url),
    }
    return Page("delivery.html", "deliveries", values)


def download_body(database: Database, page_request: ConsoleRequest) -> Response:
    """Return the exact body of a request as a file. Raises NotFound."""
    stored = queries.show_delivery(database, page_request.path["delivery_id"])
    if stored.body is None:
        raise NotFound("The body of this request was deleted (retention).")
    return attach(stored.body, name_file("request", stored.row["id"], stored.body))


def download_answer(database: Database, page_request: ConsoleRequest) -> Response:
    """Return the exact body of a response as a file. Raises NotFound."""
    stored = queries.show_delivery(database, page_request.path["delivery_id"])
    if stored.answer is None:
        raise NotFound("The body of this response was deleted (retention).")
    return attach(stored.answer, name_file("response", stored.row["id"], stored.answer))


def name_file(part: str, delivery_id: str, content: bytes) -> str:
    """Return the name of a download: `.json` if it is JSON, `.bin` otherwise."""
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError:
        return f"{part}-{delivery_id}.bin"
    return f"{part}-{delivery_id}.json"


def took_ms(delivery: Mapping[str, Any]) -> int:
    """Return the time from receipt to response, in milliseconds."""
    received, decided = (datetime.fromisoformat(delivery[name]) for name in ("received_at", "decided_at"))
    return (decided - received) // timedelta(milliseconds=1)
