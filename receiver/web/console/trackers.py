"""The pages of trackers: the list, and the timeline of one tracker."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import orjson
from starlette.responses import Response

from receiver.domain.replays import warn_of_future
from receiver.errors import NotFound
from receiver.relay.assembly import ConfiguredTarget, target_names
from receiver.sources import NAMES
from receiver.sources.facts import read_facts
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries.copies import list_copies
from receiver.storage.queries.pages import ResultPage
from receiver.storage.queries.states import TrackerFilter
from receiver.storage.queries.trackers import MAX_EVENTS
from receiver.web.api.parameters import TrackersQuery, read_query
from receiver.web.console import links
from receiver.web.console.json_tree import make_tree
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page
from receiver.web.console.rendering import redirect
from receiver.web.console.timeline import make_timeline

MILESTONES = (
    *("info_received", "in_transit", "out_for_delivery", "failed_attempt", "available_for_pickup", "exception", "delivered"),
    *("received", "draft", "ready", "shipped", "completed"),
)
"""The milestones of Ship24, then those of Shiipp. The filter suggests them and accepts any other word."""


_PACKAGES = 20  # of a manifest, on its own page


class EventAhead(NamedTuple):
    """The warning about an event far in the future, and the delivery that brought it."""

    warning: str
    delivery_id: str


def list_trackers(database: Database, targets: Sequence[ConfiguredTarget], page_request: ConsoleRequest) -> Page | Response:
    """Show trackers, last updated first, or those that match the search. A list with an order of its own has no other one."""
    query = read_query(TrackersQuery, page_request.query, page_request.zone.info)
    wanted = query.to_filter(page_request.now)
    if wanted.has_own_order() and "sort" in dict(page_request.query):
        return redirect(links.to_list("/ops/trackers", page_request.query, sort=None))
    read = partial(queries.list_trackers, database, wanted)
    page = read(query.limit, query.cursor)
    total = queries.count_items(read, page) if query.cursor is None else None
    values = {
        "page": page,
        "total": total,
        "limit": query.limit,
        "filters": dict(page_request.query),
        "sources": NAMES,
        "milestones": MILESTONES,
        "has_own_order": wanted.has_own_order(),
        "target_names": queries.list_target_names(database, target_names(targets)),
    }
    return Page("trackers.html", "trackers", values)


def show_tracker(
    database: Database, max_future: timedelta, targets: Sequence[ConfiguredTarget], page_request: ConsoleRequest
) -> Page:
    """Show a tracker's current status, its details, its timeline and its changes for targets. Raises NotFound."""
    source, tracker_id = page_request.path["source"], page_request.path["tracker_id"]
    if source not in NAMES:
        raise NotFound(f"There is no source {source}.")
    query = read_query(TrackersQuery, page_request.query, page_request.zone.info)
    found = queries.show_tracker(database, source, tracker_id, [target.subscription for target in targets])
    tracker = found["tracker"]
    neighbours = queries.find_tracker_neighbours(database, query.to_filter(page_request.now), source, tracker["tracker_id"])
    values = {
        "tracker": tracker,
        "neighbours": [one and links.to_tracker(one["source"], one["tracker_id"], page_request.query) for one in neighbours],
        "facts": read_facts(source, tracker["shipment"]),
        "packages": _list_packages(database, tracker),
        "timeline": make_timeline(found["events"], list_copies(database, source, tracker_id)),
        "is_cut": len(found["events"]) == MAX_EVENTS,
        "max_events": MAX_EVENTS,
        "ahead": _find_event_ahead(database, found, page_request.now, max_future),
        "changes": [change for change in found["changes"] if change["targets"]],
        "target_names": target_names(targets),
        "shipment": None if tracker["shipment"] is None else make_tree(orjson.dumps(tracker["shipment"])),
    }
    return Page("tracker.html", "trackers", values)


def _list_packages(database: Database, tracker: Mapping[str, Any]) -> ResultPage:
    """Return the first packages of a manifest, none for other trackers."""
    if tracker["subject"] != "manifest":
        return ResultPage([], None)
    return queries.list_trackers(database, TrackerFilter(source=tracker["source"], manifest=tracker["tracker_id"]), _PACKAGES)


def _find_event_ahead(database: Database, found: Mapping[str, Any], now: datetime, max_future: timedelta) -> EventAhead | None:
    """Return the tracker's latest event if it lies so far in the future that only a forced replay accepts it."""
    tracker = found["tracker"]
    latest = next(
        (row for row in found["events"] if row["event_id"] == tracker["latest_event_id"] and not row["superseded"]), None
    )
    if latest is None:
        return None
    warning = warn_of_future(tracker["latest_occurrence"], datetime.fromisoformat(latest["received_at"]), now, max_future)
    if warning is None:
        return None
    return EventAhead(warning, queries.show_message(database, latest["message_id"], [tracker["source"]])["delivery_id"])
