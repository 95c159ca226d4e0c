"""The query that builds waiting changes for a relay from the tables that hold their parts."""

from typing import Any

from sqlalchemy import and_, case, literal, select

from receiver.domain.changes import SHIPMENT_MOVE_OFFSET
from receiver.storage.tables.ledger import EventTable, MessageTable, TrackerTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import DispatchTable
from receiver.storage.tables.revisions import ChangeTable, ShipmentChangeTable

_OF_EVENT = (
    *("change_id", "message_id", "occurrence", "old_status", "old_status_milestone"),
    *("status", "status_code", "status_category", "status_milestone", "location", "received_at"),
    "shipment_milestone",
)


def select_changes() -> Any:
    """Return the statement that selects the waiting changes.

    A change is in the row of its event, unless it has a row among the kept changes: then the event's row already has a
    revision or another change. A change of the sender's own milestone has a row of its own.
    """
    rows, events, kept = table_of(DispatchTable), table_of(EventTable), table_of(ChangeTable)
    own_views = table_of(ShipmentChangeTable)
    of_shipment = own_views.c.move.is_not(None)
    messages, trackers = table_of(MessageTable), table_of(TrackerTable)
    of_kept = kept.c.move.is_not(None)
    change = {name: case((of_shipment, own_views.c[name]), (of_kept, kept.c[name]), else_=events.c[name]) for name in _OF_EVENT}
    columns: list[Any] = [*(change[name].label(name) for name in _OF_EVENT), rows.c.attempts, rows.c.unsettled]
    columns += [change["change_id"].label("id"), rows.c.source, rows.c.tracker_id]
    columns += [
        case((of_shipment, rows.c.move - SHIPMENT_MOVE_OFFSET), else_=rows.c.move).label("sequence"),
        case((of_shipment, own_views.c.event_id), else_=rows.c.event_id).label("event_id"),
        case((of_shipment, literal("shipment")), else_=literal("events")).label("basis"),
        own_views.c.old_shipment_milestone,
    ]
    columns += [trackers.c[name] for name in ("tracking_number", "client_tracker_id", "shipment_reference")]
    columns += [messages.c.delivery_id, messages.c.position]
    same = [(events.c[name] == rows.c[name]) for name in ("source", "tracker_id", "event_id")]
    return (
        select(*columns)
        .select_from(rows)
        .outerjoin(events, and_(*same))
        .join(trackers, and_(trackers.c.source == rows.c.source, trackers.c.tracker_id == rows.c.tracker_id))
        .outerjoin(kept, and_(*(kept.c[name] == rows.c[name] for name in ("source", "tracker_id", "move"))))
        .outerjoin(own_views, and_(*(own_views.c[name] == rows.c[name] for name in ("source", "tracker_id", "move"))))
        .join(messages, and_(messages.c.source == rows.c.source, messages.c.message_id == change["message_id"]))
        .order_by(rows.c.made_at, rows.c.source, rows.c.tracker_id)
    )
