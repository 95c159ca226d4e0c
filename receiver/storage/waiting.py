"""The query that builds the waiting changes for a relay from several tables."""

from typing import Any

from sqlalchemy import and_, case, func, literal, select

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

    A change is in the row of its event, or in a row of its own (`ChangeTable`) if the event's row has a revision or another
    change by now. A change of the sender's own milestone always has a row of its own (`ShipmentChangeTable`). Where a row has an
    empty event id, there is no event.
    """
    rows, events, changes = table_of(DispatchTable), table_of(EventTable), table_of(ChangeTable)
    shipment_changes = table_of(ShipmentChangeTable)
    of_shipment = shipment_changes.c.move.is_not(None)
    messages, trackers = table_of(MessageTable), table_of(TrackerTable)
    of_row = changes.c.move.is_not(None)
    change: dict[str, Any] = {
        name: case((of_shipment, shipment_changes.c[name]), (of_row, changes.c[name]), else_=events.c[name]) for name in _OF_EVENT
    }
    change["occurrence"] = func.nullif(change["occurrence"], "")
    columns: list[Any] = [*(change[name].label(name) for name in _OF_EVENT), rows.c.attempts, rows.c.unsettled]
    columns += [change["change_id"].label("id"), rows.c.source, rows.c.tracker_id]
    columns += [
        case((of_shipment, rows.c.move - SHIPMENT_MOVE_OFFSET), else_=rows.c.move).label("sequence"),
        case((of_shipment, shipment_changes.c.event_id), else_=func.nullif(rows.c.event_id, "")).label("event_id"),
        case((of_shipment, literal("shipment")), else_=literal("events")).label("basis"),
        shipment_changes.c.old_shipment_milestone,
    ]
    columns += [trackers.c[name] for name in ("tracking_number", "client_tracker_id", "shipment_reference")]
    columns += [messages.c.delivery_id, messages.c.position]
    same_event = [(events.c[name] == rows.c[name]) for name in ("source", "tracker_id", "event_id")]
    number = ("source", "tracker_id", "move")
    return (
        select(*columns)
        .select_from(rows)
        .outerjoin(events, and_(*same_event))
        .join(trackers, and_(trackers.c.source == rows.c.source, trackers.c.tracker_id == rows.c.tracker_id))
        .outerjoin(changes, and_(*(changes.c[name] == rows.c[name] for name in number)))
        .outerjoin(shipment_changes, and_(*(shipment_changes.c[name] == rows.c[name] for name in number)))
        .join(messages, and_(messages.c.source == rows.c.source, messages.c.message_id == change["message_id"]))
        .order_by(rows.c.made_at, rows.c.source, rows.c.tracker_id)
    )
