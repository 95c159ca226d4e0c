"""Sending a change again by hand, with the same id and sequence."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from receiver.domain.outbox_rows import DispatchRow
from receiver.errors import NotFound
from receiver.storage.database import Database
from receiver.storage.notifications import note_changes
from receiver.storage.queries.changes import StoredChange, read_stored_changes
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import DeadTable, DeliveredTable, DispatchTable, is_row, row_keys


class Resent(NamedTuple):
    """The change that is sent again, and the targets for which it was queued. A target for which it waits already is not one."""

    change_id: str
    basis: str
    sequence: int
    targets: tuple[str, ...]


def resend_change(
    database: Database,
    connection: Connection,
    source: str,
    tracker_id: str,
    target: str | None,
    basis: str,
    sequence: int | None,
    known: Collection[str],
    now: int,
) -> Resent:
    """Queue a change for a target, or for all `known` ones (None) that had it or failed. Without `sequence`: the last change.

    It is delivered before later changes of its tracker that still wait. Raises NotFound.
    """
    change = _find(connection, source, tracker_id, basis, sequence)
    recorded = [target] if target is not None else _find_targets(connection, source, tracker_id, change.move)
    targets = [name for name in recorded if name in known]
    if not targets:
        raise NotFound("No target of the settings has a record of this change. Name the target to send it to.")
    rows, dead = table_of(DispatchTable), table_of(DeadTable)
    queued = []
    for name in targets:
        key = (name, source, tracker_id, change.move)
        row = DispatchRow(*key, change.event_id or "", now, 0, None, None, now)
        insert = database.insert(rows).values(row._asdict()).on_conflict_do_nothing()
        if connection.execute(insert.returning(rows.c.target)).first() is not None:
            queued.append(name)
        connection.execute(delete(dead).where(*is_row(dead)), row_keys(*key))
    note_changes(connection)
    return Resent(change.change_id, basis, change.sequence, tuple(queued))


def _find(connection: Connection, source: str, tracker_id: str, basis: str, sequence: int | None) -> StoredChange:
    changes = [change for change in read_stored_changes(connection, source, tracker_id) if change.basis == basis]
    for change in sorted(changes, key=lambda change: change.sequence, reverse=True):
        if sequence in (None, change.sequence):
            return change
    number = "no change" if sequence is None else f"no change {sequence} among its last ones"
    raise NotFound(f"The tracker {source}/{tracker_id} has {number}.")


def _find_targets(connection: Connection, source: str, tracker_id: str, move: int) -> list[str]:
    found: set[str] = set()
    for model in (DeliveredTable, DeadTable):
        table = table_of(model)
        ours = table.c.source == source, table.c.tracker_id == tracker_id, table.c.move == move
        found.update(connection.execute(select(table.c.target).where(*ours)).scalars())
    return sorted(found)
