"""The pages of trackers: the list, and the timeline of one tracker."""

import orjson

from receiver.errors import NotFound
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries.copies import list_copies
from receiver.storage.queries.trackers import MAX_EVENTS
from receiver.web.api.parameters import TrackersQuery, read_query
from receiver.web.console.json_tree import make_tree
from receiver.web.console.login import Visit
from receiver.web.console.pages import Page
from receiver.web.console.timeline import make_timeline

MILESTONES = (
    *("info_received", "in_transit", "out_for_delivery", "failed_attempt", "available_for_pickup", "exception", "delivered"),
    *("received", "draft", "ready", "shipped", "completed"),
)
"""The milestones of Ship24, then those of Shiipp. The filter suggests them and accepts any other word."""


def list_trackers(database: Database, visit: Visit) -> Page:
    """Show trackers, last updated first, or those that match the search."""
    query = read_query(TrackersQuery, visit.query)
    page = queries.list_trackers(database, query.to_filter(visit.now), query.limit, query.cursor)
    values = {"page": page, "limit": query.limit, "filters": dict(visit.query), "sources": NAMES, "milestones": MILESTONES}
    return Page("trackers.html", "trackers", values)


def show_tracker(database: Database, visit: Visit) -> Page:
    """Show a tracker's current status, its details and its timeline. Raises NotFound."""
    source, tracker_id = visit.path["source"], visit.path["tracker_id"]
    if source not in NAMES:
        raise NotFound(f"There is no source {source}.")
    found = queries.show_tracker(database, source, tracker_id)
    tracker = found["tracker"]
    values = {
        "tracker": tracker,
        "timeline": make_timeline(found["events"], list_copies(database, source, tracker_id)),
        "is_cut": len(found["events"]) == MAX_EVENTS,
        "max_events": MAX_EVENTS,
        "shipment": None if tracker["shipment"] is None else make_tree(orjson.dumps(tracker["shipment"])),
    }
    return Page("tracker.html", "trackers", values)
