"""The pages of messages: the list, and one message with its results, its events and its deliveries."""

from collections.abc import Sequence

from receiver.domain.verdicts import OUTCOMES
from receiver.monitoring.explain import explain_message
from receiver.sources import NAMES, Source
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.api.parameters import MessagesQuery, read_query
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page


def list_messages(database: Database, page_request: ConsoleRequest) -> Page:
    """Show messages with their results, newest first."""
    query = read_query(MessagesQuery, page_request.query, page_request.zone.info)
    page = queries.list_messages(database, query.to_filter(), query.limit, query.cursor)
    outcomes = (queries.NOT_APPLIED, *OUTCOMES)
    values = {"page": page, "limit": query.limit, "filters": dict(page_request.query), "sources": NAMES, "outcomes": outcomes}
    return Page("messages.html", "messages", values)


def show_message(database: Database, sources: Sequence[Source], page_request: ConsoleRequest) -> Page:
    """Show what happened to a message and why. Raises NotFound."""
    found = explain_message(database, sources, page_request.path["message_id"])
    return Page("message.html", "messages", {"message": found})
