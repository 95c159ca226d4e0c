"""What was told of a tracker and added no event to its timeline: further copies, and messages that carried nothing new."""

from typing import Any

from sqlalchemy import select

from receiver.storage.database import Database
from receiver.storage.queries.pages import public
from receiver.storage.tables import WITHOUT_EVENTS, EventTable, MessageTable, SightingTable, table_of

_MAX_COPIES = 500
_SHOWN = ("message_id", "delivery_id", "position", "outcome", "reason", "received_at")


def list_copies(database: Database, source: str, tracker_id: str) -> list[dict[str, Any]]:
    """Return the items that told of a tracker and left no event of their own, newest first; of very many the last ones."""
    messages, sightings, events = table_of(MessageTable), table_of(SightingTable), table_of(EventTable)
    of_tracker = messages.c.source == source, messages.c.tracker_id == tracker_id
    silent = select(*(messages.c[name] for name in _SHOWN)).where(WITHOUT_EVENTS, *of_tracker)
    told = select(events.c.message_id).where(events.c.source == source, events.c.tracker_id == tracker_id)
    again = select(*(sightings.c[name] for name in _SHOWN)).where(sightings.c.source == source)
    with database.read() as connection:
        found = connection.execute(silent.order_by(messages.c.delivery_id.desc()).limit(_MAX_COPIES)).mappings().all()
        newest = connection.execute(told.order_by(events.c.received_at.desc()).limit(_MAX_COPIES)).scalars()
        ids = {*newest, *(row["message_id"] for row in found)}
        copies = again.where(sightings.c.message_id.in_(ids)).order_by(sightings.c.delivery_id.desc()).limit(_MAX_COPIES)
        found = [*found, *connection.execute(copies).mappings()]
    return sorted(map(public, found), key=lambda item: (item["delivery_id"], item["position"]), reverse=True)
