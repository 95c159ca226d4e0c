"""The outbox in storage: which changes wait for which target, and how a relay takes and gives them back.

A change that a target wants has a row until the target has it. A relay claims rows by moving them into the future, tries, and
removes them; if it dies, they come due again. A tracker's changes go out one after the other: a row can only be claimed if no
earlier one of its tracker and target is there. So one tracker's failure holds up nobody but itself.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Index,
    Text,
    and_,
    delete,
    exists,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlmodel import Field

from receiver.changes import Change
from receiver.storage.database import Database
from receiver.storage.tables import EventTable, MessageTable, Table, TrackerTable, key, table_of


class DispatchTable(Table, table=True):
    """The changes that a target has not taken yet (`rows.DispatchRow`)."""

    __tablename__ = "dispatches"
    __table_args__ = (Index(None, "target", "due_at"), {"sqlite_with_rowid": False})

    target: str = key()
    source: str = key()
    tracker_id: str = key()
    move: int = Field(primary_key=True)
    event_id: str = Field(sa_type=Text)
    due_at: int = Field(sa_type=BigInteger)
    attempts: int
    claim: str | None = Field(sa_type=Text)
    error: str | None = Field(sa_type=Text)
    made_at: int = Field(sa_type=BigInteger)


class DeadTable(Table, table=True):
    """The changes that a target could not take, set aside with the last error so that later ones go on."""

    __tablename__ = "dead_changes"
    __table_args__ = (Index(None, "died_at"),)

    target: str = key()
    source: str = key()
    tracker_id: str = key()
    move: int = Field(primary_key=True)
    event_id: str = Field(sa_type=Text)
    died_at: int = Field(sa_type=BigInteger)
    attempts: int
    error: str = Field(sa_type=Text)


_OF_EVENT = (
    *("move", "source", "tracker_id", "event_id", "message_id", "occurrence", "old_status", "old_status_milestone"),
    *("status", "status_code", "status_category", "status_milestone", "location", "received_at"),
)


class StoppedTable(Table, table=True):
    """The targets that said that they want no more."""

    __tablename__ = "stopped_targets"

    target: str = key()
    stopped_at: int = Field(sa_type=BigInteger)
    reason: str = Field(sa_type=Text)


_MAX_AHEAD = 2 * 86_400_000_000
"""Microseconds: no try is put off for as long. What is due later was dated by a clock that was wrong then, and is due."""


class Claimed(NamedTuple):
    """A change that is ours to deliver until the lease ends, under this mark; `attempts` counts this one too."""

    mark: str
    change: Change
    attempts: int


class Outcome(NamedTuple):
    """How a try under a mark ended: taken (`error` is None), to be tried again at `due_at`, or dead (`due_at` is None)."""

    mark: str
    source: str
    tracker_id: str
    move: int
    error: str | None = None
    due_at: int | None = None


class Outbox:
    """Claims and gives back, inside transactions of the caller."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, connection: Connection, target: str, mark: str, now: int, leased_until: int, limit: int) -> list[Claimed]:
        """Make up to `limit` changes that are due ours until `leased_until`, the longest waiting first, one a tracker.

        The race: two relays want the same row. One of them locks it; the other passes over it, or finds it moved into the future.
        """
        rows = table_of(DispatchTable)
        going = select(rows.c.source, rows.c.tracker_id, rows.c.move).where(*_may_go(target)).order_by(rows.c.due_at).limit(limit)
        for due in (rows.c.due_at <= now, rows.c.due_at > now + _MAX_AHEAD):
            found = connection.execute(self._database.skip_locked(going.where(due), rows)).all()
            if found:
                break
        if not found:
            return []
        places = tuple_(rows.c.source, rows.c.tracker_id, rows.c.move).in_([tuple(row) for row in found])
        ours = and_(rows.c.target == target, places)
        connection.execute(update(rows).where(ours).values(claim=mark, due_at=leased_until, attempts=rows.c.attempts + 1))
        return [
            Claimed(mark, Change(**{name: row[name] for name in Change._fields}), row["attempts"])
            for row in connection.execute(_read_changes().where(ours)).mappings()
        ]

    def settle(self, connection: Connection, target: str, now: int, outcomes: Sequence[Outcome]) -> int:
        """Put down how tries ended; return how many were still ours. A lease that ended may have gone to somebody else."""
        rows = table_of(DispatchTable)
        settled = 0
        for outcome in outcomes:
            place = (rows.c.source == outcome.source, rows.c.tracker_id == outcome.tracker_id, rows.c.move == outcome.move)
            ours = and_(rows.c.target == target, *place, rows.c.claim == outcome.mark)
            if outcome.due_at is not None:
                again = {"due_at": outcome.due_at, "claim": None, "error": outcome.error}
                settled += connection.execute(update(rows).where(ours).values(again)).rowcount
                continue
            if outcome.error is not None:
                names = ("target", "source", "tracker_id", "move", "event_id", "attempts")
                row = connection.execute(select(*(rows.c[name] for name in names)).where(ours)).mappings().first()
                if row is not None:
                    dead = {**row, "died_at": now, "error": outcome.error}
                    connection.execute(insert(table_of(DeadTable)).values({str(name): value for name, value in dead.items()}))
            settled += connection.execute(delete(rows).where(ours)).rowcount
        return settled

    def stop(self, connection: Connection, target: str, now: int, reason: str) -> None:
        """Leave a target alone from now on. Several relays may be told at the same time that it wants no more."""
        stopped = table_of(StoppedTable)
        statement = self._database.insert(stopped).values(target=target, stopped_at=now, reason=reason)
        connection.execute(statement.on_conflict_do_nothing())

    def resume(self, connection: Connection, target: str) -> bool:
        """Serve a target again; return whether it was stopped."""
        stopped = table_of(StoppedTable)
        self._database.announce(connection)
        return connection.execute(delete(stopped).where(stopped.c.target == target)).rowcount > 0

    def retry_dead(self, connection: Connection, target: str, now: int) -> int:
        """Let what was given up for a target wait again, as if it had never been tried; return how many changes that are.

        They come after what the target has got of their trackers meanwhile: `move` tells it so.
        """
        dead, rows = table_of(DeadTable), table_of(DispatchTable)
        names = ("target", "source", "tracker_id", "move", "event_id")
        fresh = {"due_at": literal(now), "attempts": literal(0), "error": dead.c.error, "made_at": literal(now)}
        given_up = select(*(dead.c[name] for name in names), *fresh.values()).where(dead.c.target == target)
        connection.execute(insert(rows).from_select([*names, *fresh], given_up))
        self._database.announce(connection)
        return connection.execute(delete(dead).where(dead.c.target == target)).rowcount

    def next_due(self, connection: Connection, target: str) -> int | None:
        """Return when the next row of a target that may go comes due; None: there is none, or the target is stopped."""
        rows = table_of(DispatchTable)
        first = select(rows.c.due_at).where(*_may_go(target)).order_by(rows.c.due_at).limit(1)
        return connection.execute(first).scalar()


def _may_go(target: str) -> tuple[ColumnElement[bool], ...]:
    """Return what is so of the rows that can be claimed once they are due: none of their tracker stands before them."""
    rows = table_of(DispatchTable)
    earlier = rows.alias()
    same_tracker = [earlier.c[name] == rows.c[name] for name in ("target", "source", "tracker_id")]
    stopped = exists().where(table_of(StoppedTable).c.target == target)
    blocked = exists().where(*same_tracker, earlier.c.move < rows.c.move)
    return rows.c.target == target, ~blocked, ~stopped


def _read_changes() -> Any:
    """Return the statement that puts changes together again from where their parts are kept."""
    rows, events = table_of(DispatchTable), table_of(EventTable)
    messages, trackers = table_of(MessageTable), table_of(TrackerTable)
    columns = [events.c.change_id.label("id"), *(events.c[name] for name in _OF_EVENT), rows.c.attempts]
    columns += [trackers.c[name] for name in ("tracking_number", "client_tracker_id", "shipment_reference")]
    columns += [messages.c.delivery_id, messages.c.position]
    same = [(events.c[name] == rows.c[name]) for name in ("source", "tracker_id", "event_id")]
    return (
        select(*columns)
        .select_from(rows)
        .join(events, and_(*same))
        .join(trackers, and_(trackers.c.source == rows.c.source, trackers.c.tracker_id == rows.c.tracker_id))
        .join(messages, and_(messages.c.source == rows.c.source, messages.c.message_id == events.c.message_id))
        .order_by(events.c.change_id)
    )
