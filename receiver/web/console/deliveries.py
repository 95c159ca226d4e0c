"""What was called and what we answered: the list, one call, its exact bytes."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from receiver.errors import NotFound
from receiver.monitoring.explain import explain_delivery
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.api.parameters import DeliveriesQuery, read_query
from receiver.web.console.guard import Visit
from receiver.web.console.json_tree import fold
from receiver.web.console.pages import Page
from receiver.web.console.rendering import attach

_FILTERS = ("source", "status", "outcome", "client", "since", "until", "message_id", "tracking_number")
_OUTCOMES = ("accepted", "refused", "unreadable", "failed")
_MAX_ITEMS = 200  # verdicts that one page shows


class DeliveryPages:
    """The pages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def show_list(self, visit: Visit) -> Page:
        """Show calls, newest first."""
        asked = read_query(DeliveriesQuery, visit.query)
        wanted = queries.DeliveryFilter(**{name: getattr(asked, name) for name in _FILTERS})
        page = queries.list_deliveries(self._database, wanted, NAMES, asked.limit, asked.cursor)
        values = {"page": page, "limit": asked.limit, "filters": dict(visit.query), "sources": NAMES, "outcomes": _OUTCOMES}
        return Page("deliveries.html", {"section": "deliveries", **values})

    def show_one(self, visit: Visit) -> Page:
        """Show a call as it came, our answer, and why. Raises NotFound."""
        stored = queries.show_delivery(self._database, visit.path["delivery_id"])
        values = {
            "section": "deliveries",
            "call": stored.row,
            "took_ms": took_ms(stored.row),
            "headers": stored.headers,
            "story": tell(stored),
            "items": stored.items[:_MAX_ITEMS],
            "left_items": max(0, len(stored.items) - _MAX_ITEMS),
            "body": None if stored.body is None else fold(stored.body),
            "answer": None if stored.answer is None else fold(stored.answer),
            "answer_bytes": len(stored.answer or b""),
        }
        return Page("delivery.html", values)

    def save_body(self, visit: Visit) -> Response:
        """Return the exact bytes of a call as a file. Raises NotFound."""
        stored = queries.show_delivery(self._database, visit.path["delivery_id"])
        if stored.body is None:
            raise NotFound("The bytes of this call are no longer kept.")
        return attach(stored.body, f"call-{stored.row['id']}.bin")

    def save_answer(self, visit: Visit) -> Response:
        """Return the exact bytes of our answer as a file. Raises NotFound."""
        stored = queries.show_delivery(self._database, visit.path["delivery_id"])
        if stored.answer is None:
            raise NotFound("The bytes of this answer are no longer kept.")
        return attach(stored.answer, f"answer-{stored.row['id']}.bin")


def took_ms(call: Mapping[str, Any]) -> int:
    """Return how long a call waited for its answer, in milliseconds."""
    received, decided = (datetime.fromisoformat(call[name]) for name in ("received_at", "decided_at"))
    return (decided - received) // timedelta(milliseconds=1)


def tell(stored: queries.StoredDelivery) -> list[str]:
    """Return the story of a call without its items, which stand in a table, and without its bytes."""
    story: list[str] = explain_delivery(stored._replace(items=[], body=b"", answer=b""))["story"]
    return story
