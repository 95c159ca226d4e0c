"""The pages of messages: the list, and one message with its results, its events and its deliveries."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from receiver.domain.imports import ORIGINS
from receiver.domain.verdicts import OUTCOMES
from receiver.monitoring.explain import explain_message
from receiver.sources import NAMES, Source
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries.pages import write_cursor
from receiver.web.api.parameters import MessagesQuery, read_query
from receiver.web.console import links
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page


def list_messages(database: Database, page_request: ConsoleRequest) -> Page:
    """Show messages with their results, newest first."""
    query = read_query(MessagesQuery, page_request.query, page_request.zone.info)
    read = partial(queries.list_messages, database, query.to_filter())
    page = read(query.limit, query.cursor)
    total = queries.count_items(read, page) if query.cursor is None else None
    values = {
        "page": page,
        "total": total,
        "limit": query.limit,
        "filters": dict(page_request.query),
        "sources": NAMES,
        "origins": ORIGINS,
        "outcomes": (queries.NOT_APPLIED, *OUTCOMES),
        "place": _write_place,
    }
    return Page("messages.html", "messages", values)


def show_message(database: Database, sources: Sequence[Source], page_request: ConsoleRequest) -> Page:
    """Show what happened to a message and why. Raises NotFound."""
    query = read_query(MessagesQuery, page_request.query, page_request.zone.info)
    found = explain_message(database, sources, page_request.path["message_id"])
    cursor = query.cursor or _write_place(found)
    neighbours = [
        one and links.to_message(one["message_id"], page_request.query, _write_place(one))
        for one in queries.find_message_neighbours(database, query.to_filter(), cursor)
    ]
    return Page("message.html", "messages", {"message": found, "neighbours": neighbours})


def _write_place(item: Mapping[str, Any]) -> str:
    """Return the cursor that names a message's place in the list: it may be in it several times."""
    return write_cursor(item["delivery_id"], item["position"])
