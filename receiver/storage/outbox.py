"""The outbox in storage: which changes wait for which target, and how a relay takes and gives them back.

A change that a target wants has a row until the target has it. A relay claims rows by moving them into the future, tries, and
removes them; if it dies, they come due again. A tracker's changes go out one after the other: only the first one of a tracker
comes due, those behind it are *blocked* until the first one is settled. So one tracker's failure holds up nobody but itself, and
a claim never looks at what waits behind a failure.

A row may come in as due behind another one. A claim that meets it blocks it, under a lock on the first row of its tracker:
whoever removes that one then sees what to unblock.
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
    update,
)

from receiver.domain.changes import Change
from receiver.domain.storable import make_storable
from receiver.storage.blocking import unblock
from receiver.storage.database import Database
from receiver.storage.notifications import note_changes
from receiver.storage.statements import Lookup
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.outbox import (
    BLOCKED,
    IS_ROW,
    SUSPECT,
    DeadTable,
    DispatchTable,
    StoppedTable,
    are_wanted,
    first_due,
    first_move,
    is_row,
    row_keys,
)
from receiver.storage.waiting import select_changes

_MAX_AHEAD = 2 * 86_400_000_000
"""Microseconds: no try is put off for as long. What is due later was dated by a clock that was wrong then, and is due."""

_LOOKED_AT = 100
"""Rows that one claim looks at where some of those that are due turn out to be behind others."""


class Claimed(NamedTuple):
    """A change that is ours to deliver until the lease ends, under this mark.

    `attempts` counts the tries that had an outcome, and this one. `unsettled` counts the claims since the last outcome that
    ended without one: whoever had them died, perhaps of this change.
    """

    mark: str
    change: Change
    attempts: int
    unsettled: int = 0


class Outcome(NamedTuple):
    """How a try under a mark ended: taken (`error` is None), to be tried again at `due_at`, or dead (`due_at` is None)."""

    mark: str
    source: str
    tracker_id: str
    move: int
    error: str | None = None
    due_at: int | None = None


class Probe(NamedTuple):
    """What is asked for to try a target that seems to be down: the `newest` change that is due, or the oldest, and not one of
    the tracker to `avoid` (source and id), if there is another.
    """

    newest: bool
    avoid: tuple[str, str] | None


class Exchanged(NamedTuple):
    """What a relay gets for its outcomes: changes to deliver, and when it should ask again.

    `next_due` is when the next change comes due (None: there is none, or the target is stopped). `blocked` counts rows that were
    due and are not any more, because they are behind others: where it is not 0, asking again at once may find more.
    """

    claimed: Sequence[Claimed]
    next_due: int | None
    blocked: int = 0


class Outbox:
    """Claims and gives back, inside transactions of the caller."""

    def __init__(self, database: Database) -> None:
        rows = table_of(DispatchTable)
        self._database = database
        self._lock_first = Lookup(database, rows, [rows.c.source, rows.c.tracker_id], lock="skip")

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
        """Put down how tries ended, and make up to `limit` changes that are due ours until `leased_until`, one a tracker.

        They are those that came due first, or what the `probe` asks for. `suspects`: these only, others only, or both. A suspect
        is marked so, or its lease ended without an outcome.

        `mark` is another one each time: what it stands at is what was claimed now."""
        self.settle(connection, target, now, outcomes)
        stopped = table_of(StoppedTable)
        if connection.execute(select(stopped.c.target).where(stopped.c.target == target)).first() is not None:
            return Exchanged([], None)
        found = self._find_due(connection, target, now, limit, probe, suspects=suspects) if limit > 0 else []
        if not found and limit > 0 and probe is not None:  # but there may be only the one to avoid
            found = self._find_due(connection, target, now, limit, suspects=suspects)
        blocked = self._block(connection, target, [row for row in found if row.move != row.first])
        first = [row_keys(target, row.source, row.tracker_id, row.move) for row in found if row.move == row.first][:limit]
        claimed = self._claim(connection, mark, leased_until, first) if first else []
        next_due = first_due(target).where(*are_wanted(suspects=suspects))
        return Exchanged(claimed, connection.execute(next_due).scalar(), blocked)

    def settle(self, connection: Connection, target: str, now: int, outcomes: Sequence[Outcome]) -> int:
        """Put down how tries ended; return how many were still ours. A lease that ended may have gone to somebody else."""
        rows = table_of(DispatchTable)
        taken: list[dict[str, Any]] = []
        again: list[dict[str, Any]] = []
        gone: list[dict[str, Any]] = []
        settled = 0
        for said in sorted(outcomes, key=lambda outcome: outcome[1:4]):
            outcome = said._replace(error=make_storable(said.error))
            ours = {**row_keys(target, *outcome[1:4]), "of_claim": outcome.mark}
            if outcome.due_at is not None:
                again.append({**ours, "then": outcome.due_at, "cause": outcome.error})
            elif outcome.error is None:
                taken.append(ours)
            else:
                gone.append(ours)
                settled += self._set_aside(connection, target, now, outcome)
        still_ours = and_(IS_ROW, rows.c.claim == bindparam("of_claim"))
        if again:
            tried = {"due_at": bindparam("then"), "error": bindparam("cause"), "attempts": rows.c.attempts + 1}
            settled += connection.execute(update(rows).where(still_ours).values(**tried, claim=None, unsettled=0), again).rowcount
        if taken:
            settled += connection.execute(delete(rows).where(still_ours), taken).rowcount
        if taken or gone:
            unblock(connection, now, taken + gone)
        return settled

    def _claim(self, connection: Connection, mark: str, leased_until: int, places: Sequence[dict[str, Any]]) -> Sequence[Claimed]:
        """Make these rows ours, which `_find_due` has locked."""
        rows = table_of(DispatchTable)
        unsettled = rows.c.unsettled + case((rows.c.claim != SUSPECT, 1), else_=0)
        ours = update(rows).where(IS_ROW).values(claim=mark, due_at=leased_until, unsettled=unsettled)
        connection.execute(ours, places)
        read = connection.execute(select_changes().where(rows.c.claim == mark)).mappings()
        made = ((Change(**{name: row[name] for name in Change._fields}), row) for row in read)
        return [Claimed(mark, change, row["attempts"] + 1, row["unsettled"]) for change, row in made]

    def _find_due(
        self, connection: Connection, target: str, now: int, limit: int, probe: Probe | None = None, *, suspects: bool | None
    ) -> Sequence[Row[Any]]:
        """Lock rows that are due; return their places, each with the `first` move of its tracker.

        They may be more than `limit`. The race: two relays want the same row. One locks it; the other passes over it.
        """
        rows = table_of(DispatchTable)
        columns = (rows.c.source, rows.c.tracker_id, rows.c.move, first_move(rows).label("first"))
        waiting = select(*columns).where(rows.c.target == target, *are_wanted(suspects=suspects))
        if probe is not None and probe.avoid is not None:
            source, tracker_id = probe.avoid
            waiting = waiting.where(or_(rows.c.source != source, rows.c.tracker_id != tracker_id))
        waiting = waiting.order_by(rows.c.due_at.desc() if probe is not None and probe.newest else rows.c.due_at)
        for due in (rows.c.due_at <= now, rows.c.due_at.between(now + _MAX_AHEAD, BLOCKED - 1)):
            going = self._database.skip_locked(waiting.where(due), rows)
            found = connection.execute(going.limit(limit)).all()
            if any(row.move != row.first for row in found):
                found = connection.execute(going.limit(max(limit, _LOOKED_AT))).all()
            if found:
                break
        return found

    def _block(self, connection: Connection, target: str, behind: Sequence[Row[Any]]) -> int:
        """Let rows wait until the first ones of their trackers are settled; return how many.

        The race: somebody settles the first row meanwhile and does not see ours. Locked, it is settled after us; else ours stay.
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

    def _set_aside(self, connection: Connection, target: str, now: int, outcome: Outcome) -> int:
        """Move a change to the dead ones; return whether it was still ours, as a number.

        The row goes first: of two who had it, one after the other, one removes it, and only that one adds it elsewhere.
        """
        rows, dead = table_of(DispatchTable), table_of(DeadTable)
        columns = [rows.c[name] for name in ("target", "source", "tracker_id", "move", "event_id", "attempts")]
        going = delete(rows).where(IS_ROW, rows.c.claim == outcome.mark).returning(*columns)
        row = connection.execute(going, row_keys(target, *outcome[1:4])).mappings().first()
        if row is None:
            return 0
        kept = {**row, "attempts": row["attempts"] + 1, "died_at": now, "error": outcome.error}
        statement = self._database.insert(dead).values({str(name): value for name, value in kept.items()})
        keys = [column.name for column in dead.primary_key.columns]
        changed = {name: value for name, value in kept.items() if name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
        return 1

    def stop(self, connection: Connection, target: str, now: int, reason: str) -> None:
        """Leave a target alone from now on. Several relays may be told at the same time that it wants no more."""
        stopped = table_of(StoppedTable)
        statement = self._database.insert(stopped).values(target=target, stopped_at=now, reason=make_storable(reason))
        connection.execute(statement.on_conflict_do_nothing())

    def resume(self, connection: Connection, target: str) -> bool:
        """Serve a target again; return whether it was stopped."""
        stopped = table_of(StoppedTable)
        note_changes(connection)
        return connection.execute(delete(stopped).where(stopped.c.target == target)).rowcount > 0

    def retry_dead(self, connection: Connection, target: str, now: int, limit: int = 1_000) -> int:
        """Let up to `limit` changes that were given up for a target until `now` wait again; return how many were moved.

        They come after what the target has got of their trackers meanwhile: `move` tells it so. The race: others set aside and
        retry at the same time. The rows are locked, and exactly these are moved; one that waits already only leaves the dead.
        """
        dead, rows = table_of(DeadTable), table_of(DispatchTable)
        given_up = select(dead).where(dead.c.target == target, dead.c.died_at <= now).limit(limit)
        found = connection.execute(self._database.skip_locked(given_up, dead)).mappings().all()
        if not found:
            return 0
        names = ("target", "source", "tracker_id", "move", "event_id", "error")
        fresh = {"due_at": now, "attempts": 0, "made_at": now}
        waiting = [{**{name: row[name] for name in names}, **fresh} for row in found]
        connection.execute(self._database.insert(rows).on_conflict_do_nothing(), waiting)
        keys = [row_keys(row["target"], row["source"], row["tracker_id"], row["move"]) for row in found]
        connection.execute(delete(dead).where(*is_row(dead)), keys)
        note_changes(connection)
        return len(found)
