"""The story of one message."""

from receiver.monitoring.explain import explain_message
from receiver.settings import Settings
from receiver.storage.database import Database
from receiver.web.console.guard import Visit
from receiver.web.console.pages import Page


class MessagePages:
    """The page."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._sources = settings.sources()
        self._database = database

    def show_one(self, visit: Visit) -> Page:
        """Show what happened to a message and why. Raises NotFound."""
        found = explain_message(self._database, self._sources, visit.path["message_id"])
        return Page("message.html", {"section": "deliveries", "message": found})
