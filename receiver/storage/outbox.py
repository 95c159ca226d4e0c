"""The outbox in storage: the changes that wait for each target, with their claims and results.

A change that a target wants has a row until it is delivered. A relay claims rows by setting their due time to the end of a lease,
delivers them and removes them; a record of each delivered change stays for some days (`DeliveredTable`). If the relay dies, they
become due again. The changes of a tracker are delivered one after the other: only its first change becomes due, and the later
ones are *blocked* until that one is settled. So a failure delays only its own tracker, and a claim never reads the changes behind
a failure.

A row may be inserted as due although an earlier one exists. A claim that finds such a row blocks it, under a lock on the first
row of its tracker. The process that removes the first row then sees the blocked row and unblocks it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Row,
    and_,
    bindparam,
    case,
    delete,
    or_,
    select,
    true,
    update,
)

from receiver.domain.changes import Change
from receiver.domain.outbox_rows import DeliveredRow
from receiver.domain.storable import make_storable
from receiver.storage.blocking import unblock
from receiver.storage.database import Database
from receiver.storage.notifications import note_changes
from receiver.storage.statements import Insert, Lookup
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import (
    BLOCKED,
    IS_ROW,
    SUSPECT,
    DeadTable,
    DeliveredTable,
    DispatchTable,
    StoppedTable,
    are_wanted,
    first_due,
    first_move,
    is_due,
    row_keys,
)
from receiver.storage.waiting import select_changes

_LOOKED_AT = 100
"""The number of rows that a claim reads if some of the due ones are not the first of their trackers."""


class Claimed(NamedTuple):
    """A change that a relay may deliver until its lease ends, under this mark.

    `attempts` counts the attempts with a result, and this one. `unsettled` counts the claims since then that ended without a
    result: the relay died, perhaps because of this change.
    """

    mark: str
    change: Change
    attempts: int
    unsettled: int = 0


class Acknowledgement(NamedTuple):
    """The record of a delivered change: its id, the number of attempts, and the status of the answer, if there is one."""

    change_id: str
    attempts: int
    status: int | None = None


class Outcome(NamedTuple):
    """The result of an attempt: delivered (`error` is None), to be retried at `due_at`, or failed for good (`due_at` is None).

    A delivered change has an `acknowledgement`.
    """

    mark: str
    source: str
    tracker_id: str
    move: int
    error: str | None = None
    due_at: int | None = None
    acknowledgement: Acknowledgement | None = None


class Probe(NamedTuple):
    """The choice of a change to test a target that seems to be down: the newest or the oldest due one.

    If possible, it does not belong to the tracker to `avoid` (source and id).
    """

    newest: bool
    avoid: tuple[str, str]


class Exchanged(NamedTuple):
    """The changes that a relay may deliver now, and the time of the next exchange.

    `next_due` is when the next change becomes due (None: there is none, or the target is stopped). `blocked` counts due rows that
    were blocked, because they are not the first of their trackers: if it is not 0, another exchange at once may find more.
    """

    claimed: Sequence[Claimed]
    next_due: int | None
    blocked: int = 0


class Outbox:
    """Claims and settles changes, inside transactions of the caller."""

    def __init__(self, database: Database) -> None:
        rows = table_of(DispatchTable)
        self._database = database
        self._lock_first = Lookup(database, rows, [rows.c.source, rows.c.tracker_id], lock="skip")
        self._add_delivered = Insert(database, table_of(DeliveredTable), DeliveredRow, replace_if=lambda *_: true())

    def exchange(
        self,
        connection: Connection,
        target: str,
        mark: str,
        now: int,
        leased_until: int,
        limit: int,
        outcomes: Sequence[Outcome] = (),
        probe: Probe | None = None,
        suspects: bool | None = None,  # noqa: FBT001  arguments of a command
    ) -> Exchanged:
        """Settle attempts, and claim up to `limit` due changes until `leased_until`, one for each tracker.

        They are the ones that became due first, or those for the `probe`. `suspects`: only suspects, only others, or both (None).
        A suspect is marked as such, or its lease ended without a result.

        `mark` is new for each call and identifies the claimed rows.
        """
        self.settle(connection, target, now, outcomes)
        stopped = table_of(StoppedTable)
        if connection.execute(select(stopped.c.target).where(stopped.c.target == target)).first() is not None:
            return Exchanged([], None)
        found = self._find_due(connection, target, now, limit, probe, suspects=suspects) if limit > 0 else []
        if not found and limit > 0 and probe is not None:  # there may be only the tracker to avoid
            found = self._find_due(connection, target, now, limit, suspects=suspects)
        blocked = self._block(connection, target, [row for row in found if row.move != row.first])
        first = [row_keys(target, row.source, row.tracker_id, row.move) for row in found if row.move == row.first][:limit]
        claimed = self._claim(connection, mark, leased_until, first) if first else []
        next_due = first_due(target).where(*are_wanted(suspects=suspects))
        return Exchanged(claimed, connection.execute(next_due).scalar(), blocked)

    def settle(self, connection: Connection, target: str, now: int, outcomes: Sequence[Outcome]) -> int:
        """Settle attempts; return the number of claims that were still valid.

        A claim is no longer valid if its lease has ended and another relay has claimed the change.
        """
        rows = table_of(DispatchTable)
        delivered: list[dict[str, Any]] = []
        retried: list[dict[str, Any]] = []
        dead: list[dict[str, Any]] = []
        settled = 0
        for unchecked in sorted(outcomes, key=lambda outcome: outcome[1:4]):
            outcome = unchecked._replace(error=make_storable(unchecked.error))
            ours = {**row_keys(target, *outcome[1:4]), "of_claim": outcome.mark}
            if outcome.due_at is not None:
                retried.append({**ours, "then": outcome.due_at, "cause": outcome.error})
            elif outcome.error is None:
                delivered.append(ours)
            else:
                dead.append(ours)
                settled += self._move_to_dead(connection, target, now, outcome)
        still_ours = and_(IS_ROW, rows.c.claim == bindparam("of_claim"))
        if retried:
            failed = {"due_at": bindparam("then"), "error": bindparam("cause"), "attempts": rows.c.attempts + 1}
            settle = update(rows).where(still_ours).values(**failed, claim=None, unsettled=0)
            settled += connection.execute(settle, retried).rowcount
        if delivered:
            settled += connection.execute(delete(rows).where(still_ours), delivered).rowcount
            self._record(connection, target, now, outcomes)
        if delivered or dead:
            unblock(connection, now, delivered + dead)
        return settled

    def _record(self, connection: Connection, target: str, now: int, outcomes: Sequence[Outcome]) -> None:
        """Record the delivered changes, even if their claims are no longer valid: the target has them."""
        made = {
            outcome[1:4]: DeliveredRow(target, *outcome[1:4], acknowledgement.change_id, now, *acknowledgement[1:])
            for outcome in outcomes
            if (acknowledgement := outcome.acknowledgement) is not None
        }
        self._add_delivered.execute(connection, [made[key] for key in sorted(made)])

    def _claim(self, connection: Connection, mark: str, leased_until: int, keys: Sequence[dict[str, Any]]) -> Sequence[Claimed]:
        """Claim these rows, which `_find_due` has locked."""
        rows = table_of(DispatchTable)
        unsettled = rows.c.unsettled + case((rows.c.claim != SUSPECT, 1), else_=0)
        ours = update(rows).where(IS_ROW).values(claim=mark, due_at=leased_until, unsettled=unsettled)
        connection.execute(ours, keys)
        read = connection.execute(select_changes().where(rows.c.claim == mark)).mappings()
        made = ((Change(**{name: row[name] for name in Change._fields}), row) for row in read)
        return [Claimed(mark, change, row["attempts"] + 1, row["unsettled"]) for change, row in made]

    def _find_due(
        self, connection: Connection, target: str, now: int, limit: int, probe: Probe | None = None, *, suspects: bool | None
    ) -> Sequence[Row[Any]]:
        """Lock rows that are due; return their keys, each with the `first` move of its tracker.

        There may be more than `limit`. The race: two relays want the same row. One locks it, and the other skips it.
        """
        rows = table_of(DispatchTable)
        columns = (rows.c.source, rows.c.tracker_id, rows.c.move, first_move(rows).label("first"))
        waiting = select(*columns).where(rows.c.target == target, *are_wanted(suspects=suspects))
        if probe is not None:
            source, tracker_id = probe.avoid
            waiting = waiting.where(or_(rows.c.source != source, rows.c.tracker_id != tracker_id))
        waiting = waiting.order_by(rows.c.due_at.desc() if probe is not None and probe.newest else rows.c.due_at)
        for due in is_due(now):
            going = self._database.skip_locked(waiting.where(due), rows)
            found = connection.execute(going.limit(limit)).all()
            if any(row.move != row.first for row in found):
                found = connection.execute(going.limit(max(limit, _LOOKED_AT))).all()
            if found:
                break
        return found

    def _block(self, connection: Connection, target: str, behind: Sequence[Row[Any]]) -> int:
        """Block rows until the first ones of their trackers are settled; return their number.

        The race: another relay settles the first row meanwhile and does not see ours. If we lock the first row, it is settled
        after our commit; if we cannot, our rows stay due.
        """
        if not behind:
            return 0
        rows = table_of(DispatchTable)
        first = sorted({(target, row.source, row.tracker_id, row.first) for row in behind})
        locked = {(source, tracker_id) for source, tracker_id in self._lock_first.execute(connection, first)}
        keys = [
            row_keys(target, row.source, row.tracker_id, row.move) for row in behind if (row.source, row.tracker_id) in locked
        ]
        if keys:
            connection.execute(update(rows).where(IS_ROW).values(due_at=BLOCKED), keys)
        return len(keys)

    def _move_to_dead(self, connection: Connection, target: str, now: int, outcome: Outcome) -> int:
        """Move a change to the dead ones; return 1 if the claim was still valid, otherwise 0.

        The row is deleted first: if two relays had claimed it, one after the other, only the one that deletes it moves it.
        """
        rows, dead = table_of(DispatchTable), table_of(DeadTable)
        columns = [rows.c[name] for name in ("target", "source", "tracker_id", "move", "event_id", "attempts")]
        going = delete(rows).where(IS_ROW, rows.c.claim == outcome.mark).returning(*columns)
        row = connection.execute(going, row_keys(target, *outcome[1:4])).mappings().first()
        if row is None:
            return 0
        values = {**row, "attempts": row["attempts"] + 1, "died_at": now, "error": outcome.error}
        statement = self._database.insert(dead).values({str(name): value for name, value in values.items()})
        keys = [column.name for column in dead.primary_key.columns]
        changed = {name: value for name, value in values.items() if name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
        return 1

    def stop(self, connection: Connection, target: str, now: int, reason: str) -> None:
        """Stop delivering to a target. Several relays may do this at the same time."""
        stopped = table_of(StoppedTable)
        statement = self._database.insert(stopped).values(target=target, stopped_at=now, reason=make_storable(reason))
        connection.execute(statement.on_conflict_do_nothing())

    def resume(self, connection: Connection, target: str) -> bool:
        """Resume delivering to a target; return whether it was stopped."""
        stopped = table_of(StoppedTable)
        note_changes(connection)
        return connection.execute(delete(stopped).where(stopped.c.target == target)).rowcount > 0
