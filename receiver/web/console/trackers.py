"""What is known of parcels: the list, and one tracker's timeline."""

from datetime import timedelta

import orjson

from receiver.clock import to_micros
from receiver.errors import NotFound
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries.copies import list_copies
from receiver.storage.queries.trackers import MAX_EVENTS
from receiver.web.api.parameters import TrackersQuery, read_query
from receiver.web.console.guard import Visit
from receiver.web.console.json_tree import fold
from receiver.web.console.pages import Page
from receiver.web.console.timeline import LATE_SECONDS, read_timeline

MILESTONES = (
    *("info_received", "in_transit", "out_for_delivery", "failed_attempt", "available_for_pickup", "exception", "delivered"),
    *("received", "draft", "ready", "shipped", "completed"),
)
"""What Ship24 and Shiipp call them; any other word can be asked for too."""


class TrackerPages:
    """The pages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def show_list(self, visit: Visit) -> Page:
        """Show trackers, last moved first, or those that were searched for."""
        asked = read_query(TrackersQuery, visit.query)
        stuck = None if asked.stuck_days is None else max(0, to_micros(visit.now - timedelta(days=asked.stuck_days)))
        moved = asked.updated_before, asked.updated_after
        wanted = queries.TrackerFilter(
            asked.q, asked.source, asked.milestone, *moved, stuck, milestone_differs=asked.milestone_differs
        )
        page = queries.list_trackers(self._database, wanted, asked.limit, asked.cursor)
        values = {"page": page, "limit": asked.limit, "filters": dict(visit.query), "sources": NAMES, "milestones": MILESTONES}
        return Page("trackers.html", {"section": "trackers", **values})

    def show_one(self, visit: Visit) -> Page:
        """Show a tracker: where it stands, every event, what arrived when. Raises NotFound."""
        source, tracker_id = visit.path["source"], visit.path["tracker_id"]
        if source not in NAMES:
            raise NotFound(f"There is no source {source}.")
        found = queries.show_tracker(self._database, source, tracker_id)
        tracker = found["tracker"]
        shipment = None if tracker["shipment"] is None else fold(orjson.dumps(tracker["shipment"]))
        values = {
            "section": "trackers",
            "tracker": tracker,
            "timeline": read_timeline(found["events"], list_copies(self._database, source, tracker_id)),
            "is_cut": len(found["events"]) == MAX_EVENTS,
            "shipment": shipment,
            "late_seconds": LATE_SECONDS,
        }
        return Page("tracker.html", values)
