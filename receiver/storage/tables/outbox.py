"""The tables of the outbox: changes that wait for targets, that were delivered or failed for good; stopped targets."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    Index,
    ScalarSelect,
    Select,
    Text,
    and_,
    bindparam,
    false,
    select,
    text,
)
from sqlmodel import Field

from receiver.storage.tables.ids import IdText
from receiver.storage.tables.metadata import Table, key, partial_index, table_of

BLOCKED = 1 << 62
"""The `due_at` of a change that waits behind an earlier one of its tracker and target: later than any real time."""

SUSPECT = "suspect"
"""The `claim` of a change that was being delivered when its process died. It is retried alone."""

_MAX_AHEAD = 2 * 86_400_000_000
"""Microseconds. No retry is delayed this long."""

IS_CLAIMED = text("claim IS NOT NULL")
HAS_FAILED = text("error IS NOT NULL")


class DispatchTable(Table, table=True):
    """The changes that wait for a target (`outbox_rows.DispatchRow`)."""

    __tablename__ = "dispatches"
    __table_args__ = (
        Index(None, "target", "due_at"),
        partial_index("ix_dispatches_claim", "claim", where=IS_CLAIMED),
        partial_index("ix_dispatches_failed", "target", "made_at", where=HAS_FAILED),
        {"sqlite_with_rowid": False},
    )

    target: str = key()
    source: str = key()
    tracker_id: str = key(IdText)
    move: int = Field(primary_key=True)
    event_id: str = Field(sa_type=IdText)
    due_at: int = Field(sa_type=BigInteger)
    attempts: int
    claim: str | None = Field(sa_type=Text)
    error: str | None = Field(sa_type=Text)
    made_at: int = Field(sa_type=BigInteger)
    unsettled: int = Field(0, sa_column_kwargs={"server_default": text("0")})


class DeadTable(Table, table=True):
    """The changes that failed for good, with the last error. Later changes are delivered meanwhile."""

    __tablename__ = "dead_changes"
    __table_args__ = (Index(None, "died_at"),)

    target: str = key()
    source: str = key()
    tracker_id: str = key(IdText)
    move: int = Field(primary_key=True)
    event_id: str = Field(sa_type=IdText)
    died_at: int = Field(sa_type=BigInteger)
    attempts: int
    error: str = Field(sa_type=Text)


class DeliveredTable(Table, table=True):
    """The delivered changes of the last days (`outbox_rows.DeliveredRow`)."""

    __tablename__ = "delivered_changes"
    __table_args__ = (Index(None, "target", "delivered_at"), {"sqlite_with_rowid": False})

    target: str = key()
    source: str = key()
    tracker_id: str = key(IdText)
    move: int = Field(primary_key=True)
    change_id: str = Field(sa_type=IdText)
    delivered_at: int = Field(sa_type=BigInteger)
    attempts: int
    status: int | None


class StoppedTable(Table, table=True):
    """The stopped targets: their server answered that it wants no more changes, or an operator paused them (`is_paused`)."""

    __tablename__ = "stopped_targets"

    target: str = key()
    stopped_at: int = Field(sa_type=BigInteger)
    reason: str = Field(sa_type=Text)
    is_paused: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs={"server_default": false()})


class FlushTable(Table, table=True):
    """When an operator last had the waiting changes of a target tried at once."""

    __tablename__ = "flushes"

    target: str = key()
    requested_at: int = Field(sa_type=BigInteger)


def is_row(table: FromClause) -> tuple[ColumnElement[bool], ...]:
    """Return the condition for one change of a target in one of these tables; `row_keys` gives its parameters."""
    names = {"target": "of_target", "source": "of_source", "tracker_id": "of_tracker", "move": "of_move"}
    return tuple(table.c[name] == bindparam(parameter) for name, parameter in names.items())


IS_OF_TRACKER = and_(*is_row(table_of(DispatchTable))[:3])
IS_ROW = and_(*is_row(table_of(DispatchTable)))


def row_keys(target: str, source: str, tracker_id: str, move: int) -> dict[str, Any]:
    """Return the parameters of `IS_ROW`."""
    return {"of_target": target, "of_source": source, "of_tracker": tracker_id, "of_move": move}


def first_move(rows: FromClause) -> ScalarSelect[int]:
    """Return the subquery for the number (`move`) of the first waiting change of the tracker in `rows`."""
    earlier = table_of(DispatchTable).alias("earlier")
    same = [earlier.c[name] == rows.c[name] for name in ("target", "source", "tracker_id")]
    return select(earlier.c.move).where(*same).order_by(earlier.c.move).limit(1).scalar_subquery()


def first_due(target: str) -> Select[Any]:
    """Return the query for the time when the next change of a target becomes due."""
    rows = table_of(DispatchTable)
    return select(rows.c.due_at).where(rows.c.target == target, rows.c.due_at < BLOCKED).order_by(rows.c.due_at).limit(1)


def is_due(now: int) -> Sequence[ColumnElement[bool]]:
    """Return the two conditions for a due change: its time has come, or is so late that it was written with a wrong clock."""
    due_at = table_of(DispatchTable).c.due_at
    return due_at <= now, due_at.between(now + _MAX_AHEAD, BLOCKED - 1)


def are_wanted(*, suspects: bool | None) -> Sequence[ColumnElement[bool]]:
    """Return the condition on due changes: only suspects, only others, or no condition (None)."""
    claim = table_of(DispatchTable).c.claim
    return () if suspects is None else (claim.is_not(None) if suspects else claim.is_(None),)
