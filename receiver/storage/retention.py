"""Pruning in the database: one bounded batch of old rows in each transaction.

A batch is a range of a key that sorts by time. `reached` is the key up to which a kind was pruned; rows before it are not read
again, even if they were not removed. One process prunes at a time: the one that holds the claim. Each batch extends its lease. A
process that lost the claim does nothing.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, CursorResult, and_, delete, func, literal, or_, select, true, update

from receiver.clock import first_id
from receiver.domain.retention import KINDS, PruneBatch, Removed, units_of
from receiver.errors import AlreadyRunning
from receiver.storage.database import Database
from receiver.storage.stranded import find_stranded, list_names, prune_stranded
from receiver.storage.tables.ledger import NOT_ACCEPTED, BodyTable, DeliveryTable, QuarantineTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import DeadTable, DeliveredTable, DispatchTable
from receiver.storage.tables.retention import PruningTable

LEASE_MICROS = 60_000_000


class _PruneRule(NamedTuple):
    """A prunable kind: its key and size columns, the indexed condition, the delete condition and the delete."""

    columns: tuple[ColumnElement[Any], ColumnElement[int]]
    narrow: tuple[Any, ...]
    is_prunable: ColumnElement[bool]
    remove: Callable[[Connection, Sequence[str]], object]


class Retention:
    """Prunes inside transactions of the caller."""

    def __init__(self, database: Database) -> None:
        self._insert = database.insert
        self._rules = _rules()

    def claim_pruning(self, connection: Connection, mark: str, now: int) -> None:
        """Claim the pruning for the length of a lease. Raises AlreadyRunning if another process has it.

        The race: two processes claim at once. The rows are the claim; only one process updates all of them.
        """
        rows = table_of(PruningTable)
        fresh = [{"kind": kind, "claim": None, "leased_until": 0, "reached": ""} for kind in KINDS]
        connection.execute(self._insert(rows).values(fresh).on_conflict_do_nothing())
        free = or_(rows.c.claim.is_(None), rows.c.leased_until < now)
        claimed = connection.execute(update(rows).where(free).values(claim=mark, leased_until=now + LEASE_MICROS)).rowcount
        if claimed < len(KINDS):
            raise AlreadyRunning("Pruning is already under way. Try again when it is done.")

    def renew_pruning(self, connection: Connection, mark: str, now: int) -> None:
        """Extend the lease of a run. Raises AlreadyRunning if the claim is lost."""
        rows = table_of(PruningTable)
        lease = now + LEASE_MICROS
        if not connection.execute(update(rows).where(rows.c.claim == mark).values(leased_until=lease)).rowcount:
            raise AlreadyRunning("Another process prunes now.")

    def release_pruning(self, connection: Connection, mark: str) -> None:
        """Release the claim."""
        rows = table_of(PruningTable)
        connection.execute(update(rows).where(rows.c.claim == mark).values(claim=None))

    def prune(
        self,
        connection: Connection,
        mark: str,
        now: int,
        kind: str,
        cutoff: int,
        size: int,
        running: Collection[str] | None = None,
    ) -> PruneBatch:
        """Remove rows of a kind that are older than `cutoff`, up to `size` units. Raises AlreadyRunning if the claim is lost.

        For dead changes this includes changes that wait for a target which is not `running`; None: only dead ones.
        """
        rows = table_of(PruningTable)
        ours = and_(rows.c.kind == kind, rows.c.claim == mark)
        reached = connection.execute(select(rows.c.reached).where(ours)).scalar()
        if reached is None:
            raise AlreadyRunning("Another process prunes now.")
        if kind == "dead_changes":
            done = _prune_dead(connection, cutoff, size)
            if not done.more and running is not None:
                stranded, reached = prune_stranded(connection, running, cutoff, size, reached)
                done = _add(done, stranded)
        elif kind == "delivered_changes":
            done = _prune_delivered(connection, cutoff, size)
        else:
            done, reached = _prune_rule(connection, self._rules[kind], reached, first_id(cutoff), size)
        if not connection.execute(update(rows).where(ours).values(reached=reached)).rowcount:
            raise AlreadyRunning("Another process prunes now.")
        self.renew_pruning(connection, mark, now)
        return done


def count_prunable(database: Database, cutoffs: Mapping[str, int], running: Collection[str] | None = None) -> dict[str, Removed]:
    """Return the amount that `Retention.prune` would remove. It reads all these rows, so it is only for operators."""
    rules = _rules()
    found = {}
    with database.read() as connection:
        for kind, cutoff in cutoffs.items():
            if kind in rules:
                rule = rules[kind]
                inside = (*rule.narrow, rule.is_prunable, rule.columns[0] < first_id(cutoff))
                counted = select(func.count(), func.coalesce(func.sum(rule.columns[1]), 0)).where(*inside)
            else:
                dead, delivered = table_of(DeadTable), table_of(DeliveredTable)
                at = dead.c.died_at if kind == "dead_changes" else delivered.c.delivered_at
                counted = select(func.count(), literal(0)).where(at < cutoff)
            rows, content_bytes = connection.execute(counted).one()
            if kind == "dead_changes" and running is not None:
                rows += _count_stranded(connection, running, cutoff)
            found[kind] = Removed(int(rows), int(content_bytes))
    return found


def count_rows(database: Database, running: Collection[str] | None = None) -> dict[str, int]:
    """Return the number of rows of each prunable kind; for `quarantine`, those that still have their bytes.

    With `running`, dead changes include changes that wait for a target which is not running.
    """
    bodies, quarantine, dead = table_of(BodyTable), table_of(QuarantineTable), table_of(DeadTable)
    refused = _rules()["refused"]
    queries = {
        "bodies": select(func.count()).select_from(bodies),
        "quarantine": select(func.count()).select_from(quarantine).where(func.length(quarantine.c.raw) > 0),
        "refused": select(func.count()).select_from(table_of(DeliveryTable)).where(*refused.narrow, refused.is_prunable),
        "dead_changes": select(func.count()).select_from(dead),
        "delivered_changes": select(func.count()).select_from(table_of(DeliveredTable)),
    }
    with database.read() as connection:
        counted = {kind: int(connection.execute(statement).scalar_one()) for kind, statement in queries.items()}
        if running is not None:
            counted["dead_changes"] += _count_stranded(connection, running)
        return counted


def _prune_rule(connection: Connection, rule: _PruneRule, reached: str, cutoff: str, size: int) -> tuple[PruneBatch, str]:
    """Prune a range of keys after `reached`; return the removed amount and the last key of the range."""
    key_column, content_bytes = rule.columns
    looked_at = select(key_column, content_bytes, rule.is_prunable).where(*rule.narrow, key_column > reached, key_column < cutoff)
    found = connection.execute(looked_at.order_by(key_column).limit(size))
    taken, units, more = _take(found, size)
    gone = [row for row in taken if row[2]]
    if gone:
        rule.remove(connection, [row[0] for row in gone])
    done = PruneBatch(len(gone), sum(row[1] for row in gone), units, more)
    return done, taken[-1][0] if taken else reached


def _take(found: CursorResult[*tuple[Any, ...]], size: int) -> tuple[list[Sequence[Any]], int, bool]:
    """Return the first rows up to `size` units, but at least one; their units; and whether there may be more.

    The other rows are not fetched, if the database returns them one by one.
    """
    taken: list[Sequence[Any]] = []
    units = 0
    with closing(found):
        for row in found:
            if taken and units + units_of(row[1]) > size:
                return taken, units, True
            taken.append(row)
            units += units_of(row[1])
    return taken, units, len(taken) == size


def _prune_dead(connection: Connection, cutoff: int, size: int) -> PruneBatch:
    dead = table_of(DeadTable)
    oldest = select(dead.c.died_at).where(dead.c.died_at < cutoff).order_by(dead.c.died_at).limit(size)
    found = connection.execute(oldest).scalars().all()
    if not found:
        return PruneBatch(0, 0, 0, more=False)
    gone = int(connection.execute(delete(dead).where(dead.c.died_at <= found[-1])).rowcount)
    return PruneBatch(gone, 0, gone, len(found) == size)


def _prune_delivered(connection: Connection, cutoff: int, size: int) -> PruneBatch:
    """Remove the records of up to `size` changes of one target that were delivered before `cutoff`; the oldest first."""
    rows = table_of(DeliveredTable)
    for target in list_names(connection, rows):
        old = select(rows.c.delivered_at).where(rows.c.target == target, rows.c.delivered_at < cutoff)
        found = connection.execute(old.order_by(rows.c.delivered_at).limit(size)).scalars().all()
        if found:
            reached = rows.c.target == target, rows.c.delivered_at <= found[-1]
            gone = int(connection.execute(delete(rows).where(*reached)).rowcount)
            return PruneBatch(gone, 0, gone, more=True)
    return PruneBatch(0, 0, 0, more=False)


def _count_stranded(connection: Connection, running: Collection[str], cutoff: int | None = None) -> int:
    """Return the number of changes that wait for no running target: all, or those made before `cutoff`."""
    rows = table_of(DispatchTable)
    strands = rows.c.target.in_(find_stranded(connection, running)), true() if cutoff is None else rows.c.made_at < cutoff
    return int(connection.execute(select(func.count()).select_from(rows).where(*strands)).scalar_one())


def _add(one: PruneBatch, other: PruneBatch) -> PruneBatch:
    return PruneBatch(one.rows + other.rows, 0, one.units + other.units, other.more)


def _rules() -> dict[str, _PruneRule]:
    return {"bodies": _bodies(), "quarantine": _quarantine(), "refused": _refused()}


def _bodies() -> _PruneRule:
    """Return the rule for bodies and answers. The row is deleted; a delivery without one is shown as pruned."""
    bodies = table_of(BodyTable)
    weight = func.length(bodies.c.body) + func.length(bodies.c.answer)
    return _PruneRule(
        (bodies.c.delivery_id, weight),
        (),
        true(),
        lambda connection, ids: connection.execute(delete(bodies).where(bodies.c.delivery_id.in_(ids))),
    )


def _quarantine() -> _PruneRule:
    """Return the rule for bytes in quarantine; the reasons stay."""
    quarantine = table_of(QuarantineTable)
    weight = func.length(quarantine.c.raw)
    return _PruneRule(
        (quarantine.c.id, weight),
        (),
        weight > 0,
        lambda connection, ids: connection.execute(update(quarantine).where(quarantine.c.id.in_(ids)).values(raw=b"")),
    )


def _refused() -> _PruneRule:
    """Return the rule for rejected and failed deliveries without content: their whole rows are deleted."""
    deliveries, bodies = table_of(DeliveryTable), table_of(BodyTable)

    def remove(connection: Connection, ids: Sequence[str]) -> None:
        connection.execute(delete(bodies).where(bodies.c.delivery_id.in_(ids)))
        connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))

    return _PruneRule((deliveries.c.id, literal(0)), (NOT_ACCEPTED,), is_without_content(), remove)


def is_without_content() -> ColumnElement[bool]:
    """Return the condition for rejected and failed deliveries without content.

    Those on which our own code failed (500) have a stored body.
    """
    deliveries = table_of(DeliveryTable)
    return and_(deliveries.c.outcome.in_(["refused", "failed"]), deliveries.c.received == 0, deliveries.c.status != 500)
