"""Queries about changes: the changes of a tracker, and the state of each one for each target."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, select

from receiver.clock import iso
from receiver.domain.changes import SHIPMENT_MOVE_OFFSET, Subscription
from receiver.storage.stranded import list_names
from receiver.storage.tables.ledger import EventTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import BLOCKED, DeadTable, DeliveredTable, DispatchTable, StoppedTable
from receiver.storage.tables.revisions import ChangeTable, ShipmentChangeTable

MAX_CHANGES = 200
"""The maximum number of changes of a tracker: the last ones."""

_OUTBOX = (DeliveredTable, DeadTable, DispatchTable)
"""The tables with the states of changes. A change that is sent again is in two of them: the later one in this list counts."""


class StoredChange(NamedTuple):
    """A change of a tracker as it is stored. `milestones` are those before and after it, of its basis."""

    move: int
    change_id: str
    event_id: str | None
    status: str | None
    received_at: int
    milestones: tuple[str | None, str | None]

    @property
    def basis(self) -> str:
        """Its kind: `events` or `shipment`."""
        return "shipment" if self.move > SHIPMENT_MOVE_OFFSET else "events"

    @property
    def sequence(self) -> int:
        """Its number within its tracker and basis."""
        return self.move - (SHIPMENT_MOVE_OFFSET if self.basis == "shipment" else 0)


def read_changes(
    connection: Connection, source: str, tracker_id: str, subscriptions: Sequence[Subscription], *, is_test: bool = False
) -> list[dict[str, Any]]:
    """Return the last changes of a tracker, newest first, each with its state for each target.

    The targets are those of the subscriptions, and all others with stored changes. A change without a row is `not_wanted` if the
    subscription of the target leaves it out, or if a test made the tracker (`is_test`). Otherwise it is `unknown`: its record was
    pruned, or the target was added or its filter changed after the change, or the change was dropped.
    """
    changes = read_stored_changes(connection, source, tracker_id)
    states = _read_states(connection, source, tracker_id, subscriptions)
    return [_show(change, source, states, subscriptions, is_test=is_test) for change in changes]


def read_holds(connection: Connection) -> dict[str, str]:
    """Return the targets that get no changes now, and why: `paused` or `stopped`."""
    stops = table_of(StoppedTable)
    rows = connection.execute(select(stops.c.target, stops.c.is_paused))
    return {target: "paused" if is_paused else "stopped" for target, is_paused in rows}


def show_state(row: RowMapping, holds: Mapping[str, str]) -> dict[str, Any]:
    """Return the state of a change for a target, from its row in one of the tables of the outbox."""
    if "delivered_at" in row:
        values = {
            "state": "delivered",
            "attempts": row["attempts"],
            "delivered_at": iso(row["delivered_at"]),
            "status": row["status"],
        }
    elif "died_at" in row:
        values = {"state": "dead", "attempts": row["attempts"], "died_at": iso(row["died_at"]), "last_error": row["error"]}
    else:
        held_by = holds.get(row["target"]) or (None if row["due_at"] < BLOCKED else "earlier_change")
        is_due = held_by is None and row["claim"] is None
        values = {
            "state": "waiting" if row["error"] is None else "failing",
            "attempts": row["attempts"],
            "last_error": row["error"],
            "next_attempt_at": iso(row["due_at"]) if is_due else None,
            "held_by": held_by,
        }
    return {"target": row["target"], **_NOTHING, **values}


_NAMES = ("state", "attempts", "delivered_at", "status", "died_at", "last_error", "next_attempt_at", "held_by")
_NOTHING = dict.fromkeys(_NAMES)


def read_stored_changes(connection: Connection, source: str, tracker_id: str) -> list[StoredChange]:
    """Return the last changes, from the rows of their events and from rows of their own."""
    events, kept, shipments = table_of(EventTable), table_of(ChangeTable), table_of(ShipmentChangeTable)
    names = ("old_status_milestone", "status_milestone")
    views = ("old_shipment_milestone", "shipment_milestone")
    found: dict[int, StoredChange] = {}
    for table, (before, after) in ((events, names), (kept, names), (shipments, views)):
        columns = [table.c[name] for name in ("move", "change_id", "event_id", "status", "received_at", before, after)]
        ours = table.c.source == source, table.c.tracker_id == tracker_id, table.c.move.is_not(None)
        last = select(*columns).where(*ours).order_by(table.c.move.desc()).limit(MAX_CHANGES)
        for row in connection.execute(last):
            found[row[0]] = StoredChange(row[0], row[1], row[2] or None, row[3], row[4], (row[5], row[6]))
    return sorted(found.values(), key=lambda change: (change.received_at, change.move), reverse=True)[:MAX_CHANGES]


def _read_states(
    connection: Connection, source: str, tracker_id: str, subscriptions: Sequence[Subscription]
) -> dict[int, dict[str, dict[str, Any]]]:
    """Return the states from the rows of the outbox, by change (`move`) and target."""
    holds = read_holds(connection)
    configured = {one.target for one in subscriptions}
    states: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for model in _OUTBOX:
        table = table_of(model)
        for target in sorted(configured | {*list_names(connection, table)}):
            ours = table.c.target == target, table.c.source == source, table.c.tracker_id == tracker_id
            last = select(table).where(*ours).order_by(table.c.move.desc()).limit(2 * MAX_CHANGES)
            for row in connection.execute(last).mappings():
                states[row["move"]][target] = show_state(row, holds)
    return states


def _show(
    change: StoredChange,
    source: str,
    states: dict[int, dict[str, dict[str, Any]]],
    subscriptions: Sequence[Subscription],
    *,
    is_test: bool,
) -> dict[str, Any]:
    targets = {**states.get(change.move, {})}
    for one in subscriptions:
        if one.target not in targets:
            wants = one.basis == change.basis and one.wants(source, *change.milestones) and not is_test
            targets[one.target] = {"target": one.target, **_NOTHING, "state": "unknown" if wants else "not_wanted"}
    return {
        "change_id": change.change_id,
        "basis": change.basis,
        "sequence": change.sequence,
        "event_id": change.event_id,
        "status": change.status,
        "created_at": iso(change.received_at),
        "targets": [targets[name] for name in sorted(targets)],
    }
