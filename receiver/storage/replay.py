"""Deciding a kept call again: what was never decided, or was set apart, gets its verdict; what is known stays as it is.

It happens as of the call's own arrival and is no call: it leaves no delivery, counts nowhere and uses no token.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, update

from receiver.clock import from_micros
from receiver.domain.batch import BatchState, name_anonymous
from receiver.domain.changes import Subscription
from receiver.domain.erasure import BLANK
from receiver.domain.records import Delivery, Message, Submission
from receiver.domain.rows import DeliveryRow, MessageRow, QuarantineRow, RepeatedMessageRow, TrackerRow
from receiver.domain.verdicts import OUTCOMES, Verdict, better_verdict
from receiver.errors import AlreadyRunning, NotFound, UnexpectedShape
from receiver.storage.database import Database
from receiver.storage.ledger import Ledger
from receiver.storage.stored_deliveries import PRUNED, fingerprint
from receiver.storage.tables.ledger import BodyTable, DeliveryTable, MessageTable, QuarantineTable, RepeatedMessageTable
from receiver.storage.tables.metadata import table_of

_FORCED = "force"
ACTION = "replay"
"""What stands in the audit for a call that was decided again; the detail is that of the order."""


class ReplayOptions(NamedTuple):
    """How a call is to be decided again. `now` is when that is, in microseconds.

    `force`: messages in quarantine, and events of a message that were set apart, too, as if their identity were not kept; and no
    time is too far ahead. `dry_run`: say what would change, and change nothing. `as_read`: the fingerprint of the body that was
    read, where it may have been changed since.
    """

    now: int
    force: bool = False
    dry_run: bool = False
    as_read: str | None = None

    @property
    def detail(self) -> str | None:
        """Return what the audit says of it."""
        return _FORCED if self.force else None

    @classmethod
    def recall(cls, done_at: int, detail: str | None) -> "ReplayOptions":
        """Return the options that the audit log has for a replay."""
        return cls(done_at, detail == _FORCED)


class Item(NamedTuple):
    """One item of the call: its verdict on record before (None: it was never decided) and after."""

    position: int
    message_id: str | None
    before: Verdict | None
    after: Verdict

    @property
    def changed(self) -> bool:
        """Tell whether the verdict is another than before."""
        return self.before is None or self.before[:2] != self.after[:2]


class TrackerStatus(NamedTuple):
    """Where a tracker stands."""

    status: str | None
    status_milestone: str | None
    latest_occurrence: str | None


class Movement(NamedTuple):
    """A tracker whose row changed; `before` is None for one that was not known."""

    source: str
    tracker_id: str
    before: TrackerStatus | None
    after: TrackerStatus


class Replayed(NamedTuple):
    """What deciding a call again changed, or would change, if anything. `problem`: why its body still cannot be read."""

    delivery_id: str
    changed: bool
    items: tuple[Item, ...]
    trackers: tuple[Movement, ...] = ()
    problem: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        items = [
            {
                "position": item.position,
                "message_id": item.message_id,
                "before": item.before and {"outcome": item.before.outcome, "reason": item.before.reason},
                "after": {"outcome": item.after.outcome, "reason": item.after.reason},
            }
            for item in self.items
        ]
        trackers = [
            {**moved._asdict(), "before": moved.before and moved.before._asdict(), "after": moved.after._asdict()}
            for moved in self.trackers
        ]
        return {**self._asdict(), "items": items, "trackers": trackers}


class ReplayDecider:
    """Decides kept calls again, inside transactions of the caller."""

    def __init__(self, database: Database, max_future: timedelta, subscriptions: Sequence[Subscription] = ()) -> None:
        self._database = database
        self._max_future = max_future
        self._ledger = Ledger(database, subscriptions)

    def replay(self, connection: Connection, submission: Submission, order: ReplayOptions) -> Replayed:
        """Decide a call again and return what changes. Raises NotFound, UnexpectedShape.

        Raises Underway if the body is no longer the one that was read: an erasure came between.

        Decided are items that never were, and those that were set apart without an identity, so that nothing can be a duplicate
        of them. What has a verdict otherwise keeps it, unless it is forced.
        """
        savepoint = connection.begin_nested()
        replayed = self._replay(connection, submission, order)
        if order.dry_run:
            savepoint.rollback()
        else:
            savepoint.commit()
        return replayed

    def _replay(self, connection: Connection, submission: Submission, order: ReplayOptions) -> Replayed:
        row = self._lock(connection, submission.delivery.id, order.as_read)
        record = _read_record(connection, row.id)
        wanted = tuple([record.name(message) for message in submission.messages if record.is_open(message, force=order.force)])
        if not wanted:
            problem = None if submission.error is None else submission.error.message
            return Replayed(row.id, changed=False, items=_compare(record, {}), problem=problem)
        batch_state = BatchState(self._max_future, from_micros(order.now), order.force)
        self._ledger.read(connection, batch_state, [submission._replace(messages=wanted)])
        known = dict(batch_state.trackers)
        decided = _decide(batch_state, submission.delivery, wanted, record)
        changed = _take_away(connection, batch_state, row.id, record, decided)
        _write_verdicts(connection, record, wanted, decided)
        self._ledger.write(connection, batch_state)
        items = _compare(record, decided)
        _write_counts(connection, row, items)
        changed |= bool(batch_state.moved or batch_state.timelines.new or batch_state.timelines.revised) or any(
            item.changed for item in items
        )
        return Replayed(row.id, changed, items, tuple([_move(key, known, batch_state) for key in sorted(batch_state.moved)]))

    def _lock(self, connection: Connection, delivery_id: str, as_read: str | None) -> DeliveryRow:
        """Return the call's row, locked: of two replays of it the second sees what the first one did."""
        deliveries, bodies = table_of(DeliveryTable), table_of(BodyTable)
        wanted = select(deliveries).where(deliveries.c.id == delivery_id)
        row = connection.execute(self._database.lock_rows(wanted, deliveries)).first()
        if row is None:
            raise NotFound(f"There is no delivery {delivery_id}.")
        stored = connection.execute(select(bodies.c.body).where(bodies.c.delivery_id == delivery_id)).first()
        if stored is None:
            raise UnexpectedShape(PRUNED)
        if as_read not in (None, fingerprint(bytes(stored.body))):
            raise AlreadyRunning("This delivery was changed just now. Try again.")
        return DeliveryRow(*row)


class _Record(NamedTuple):
    """What is on record of a call's items, by their positions: rows of their own, or repeated; and what was set apart."""

    messages: dict[int, MessageRow]
    repeated: dict[int, RepeatedMessageRow]
    apart: dict[int, list[QuarantineRow]]

    def is_open(self, message: Message, *, force: bool) -> bool:
        """Tell whether an item is to be decided. One that was erased keeps the verdict that it had: what it said is gone."""
        position = message.position
        kept, seen = self.messages.get(position), self.repeated.get(position)
        if message.raw == BLANK and (kept is not None or seen is not None):
            return False
        if kept is not None:
            return force and (kept.outcome == "quarantined" or position in self.apart)
        return seen is None or (seen.outcome == "quarantined" and (force or seen.message_id is None))

    def name(self, message: Message) -> Message:
        """Return a message under the id that it has on record, where it names itself by nothing."""
        kept = self.messages.get(message.position)
        return message if kept is None or not message.is_anonymous else name_anonymous(message, kept.message_id)


def _read_record(connection: Connection, delivery_id: str) -> _Record:
    messages, repeated, quarantine = table_of(MessageTable), table_of(RepeatedMessageTable), table_of(QuarantineTable)
    rows = connection.execute(select(messages).where(messages.c.delivery_id == delivery_id))
    kept = {row.position: MessageRow(*row) for row in rows}
    rows = connection.execute(select(repeated).where(repeated.c.delivery_id == delivery_id))
    seen = {row.position: RepeatedMessageRow(*row) for row in rows}
    apart: dict[int, list[QuarantineRow]] = {}
    rows = connection.execute(select(quarantine).where(quarantine.c.delivery_id == delivery_id))
    for row in rows:
        apart.setdefault(row.position, []).append(QuarantineRow(*row)._replace(raw=bytes(row.raw)))
    return _Record(kept, seen, apart)


_Decided = dict[int, tuple[str | None, Verdict]]
"""The id and the verdict of each item that was decided, by its position."""


def _decide(batch_state: BatchState, delivery: Delivery, wanted: Sequence[Message], record: _Record) -> _Decided:
    decided: _Decided = {}
    for message in wanted:
        kept = record.messages.get(message.position)
        if kept is None:
            (decided[message.position],) = batch_state.decide(delivery, [message]).messages
        else:
            verdict = batch_state.decide_again(delivery, message, kept.message_id)
            decided[message.position] = kept.message_id, better_verdict(Verdict(kept.outcome, kept.reason), verdict)
    return decided


def _compare(record: _Record, decided: _Decided) -> tuple[Item, ...]:
    rows: list[MessageRow | RepeatedMessageRow] = [*record.messages.values(), *record.repeated.values()]
    before: _Decided = {row.position: (row.message_id, Verdict(row.outcome, row.reason)) for row in rows}
    after = before | decided
    return tuple([Item(place, after[place][0], before.get(place, (None, None))[1], after[place][1]) for place in sorted(after)])


def _move(key: tuple[str, str], known: dict[tuple[str, str], TrackerRow], batch_state: BatchState) -> Movement:
    before = known.get(key)
    return Movement(*key, None if before is None else _stand(before), _stand(batch_state.trackers[key]))


def _stand(tracker: TrackerRow) -> TrackerStatus:
    return TrackerStatus(tracker.status, tracker.status_milestone, tracker.latest_occurrence)


def _take_away(connection: Connection, batch_state: BatchState, delivery_id: str, record: _Record, decided: _Decided) -> bool:
    """Remove the stored verdicts of items that are now decided differently, and leave only new rows in the batch.

    Returns whether anything is otherwise.
    """
    seen = {row.position: row for row in batch_state.repeated if row.delivery_id == delivery_id}
    elsewhere = [row for row in batch_state.repeated if row.delivery_id != delivery_id]  # copies whose place a mended one took
    apart: dict[int, list[QuarantineRow]] = {}
    for row in batch_state.quarantined:
        apart.setdefault(row.position, []).append(row)
    seen_otherwise = [place for place in decided if record.repeated.get(place) != seen.get(place)]
    apart_otherwise = [place for place in decided if _contents(record.apart.get(place)) != _contents(apart.get(place))]
    batch_state.repeated = elsewhere + [seen[place] for place in seen_otherwise if place in seen]
    batch_state.quarantined = [row for row in batch_state.quarantined if row.position in apart_otherwise]
    for table, places in ((table_of(RepeatedMessageTable), seen_otherwise), (table_of(QuarantineTable), apart_otherwise)):
        if places:
            connection.execute(delete(table).where(table.c.delivery_id == delivery_id, table.c.position.in_(places)))
    return bool(seen_otherwise or apart_otherwise)


def _contents(rows: Sequence[QuarantineRow] | None) -> set[tuple[Any, ...]]:
    return {row[1:] for row in rows or ()}


def _write_verdicts(connection: Connection, record: _Record, wanted: Sequence[Message], decided: _Decided) -> None:
    """Give messages that have a row their new verdict; a tracker too, where none could be read before."""
    messages = table_of(MessageTable)
    new = []
    for message in wanted:
        kept, (_, verdict) = record.messages.get(message.position), decided[message.position]
        if kept is not None and (kept.outcome, kept.reason) != verdict[:2]:
            told = {
                "outcome": verdict.outcome,
                "reason": verdict.reason,
                "tracker_id": message.tracker_id,
                "topic": message.topic,
            }
            new.append({"of": kept.source, "named": kept.message_id, **told})
    if new:
        named = messages.c.source == bindparam("of"), messages.c.message_id == bindparam("named")
        connection.execute(update(messages).where(*named), new)


def _write_counts(connection: Connection, row: DeliveryRow, items: Sequence[Item]) -> None:
    """Let the call's row tell how many of its messages have which verdict now; what was answered stays as it was."""
    counts = Counter(item.after.outcome for item in items)
    told = {"received": len(items), **{outcome: counts[outcome] for outcome in OUTCOMES}}
    if any(getattr(row, name) != number for name, number in told.items()):
        deliveries = table_of(DeliveryTable)
        connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(told))
