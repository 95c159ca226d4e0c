"""The page of one message: its results, its events, and the deliveries that contained it."""

from collections.abc import Sequence

from receiver.monitoring.explain import explain_message
from receiver.sources import Source
from receiver.storage.database import Database
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page


def show_message(database: Database, sources: Sequence[Source], page_request: ConsoleRequest) -> Page:
    """Show what happened to a message and why. Raises NotFound."""
    found = explain_message(database, sources, page_request.path["message_id"])
    return Page("message.html", "deliveries", {"message": found})
