"""Replay of a stored delivery: items without a verdict or in quarantine are decided; the others keep their verdicts.

A replay decides as of the delivery's own arrival. It is not a delivery itself: it adds no row, counts nowhere and uses no token.
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
"""The action of a replay in the audit log; the detail is that of its options."""


class ReplayOptions(NamedTuple):
    """The options of a replay. `now` is the time of the replay in microseconds.

    `force` also decides messages and events in quarantine, as if they were new, and accepts any time in the future. `dry_run`
    changes nothing. `as_read` is the fingerprint of the body that was read, if it may have changed since.
    """

    now: int
    force: bool = False
    dry_run: bool = False
    as_read: str | None = None

    @property
    def detail(self) -> str | None:
        """Return the detail for the audit log."""
        return _FORCED if self.force else None

    @classmethod
    def from_audit(cls, done_at: int, detail: str | None) -> "ReplayOptions":
        """Return the options that the audit log has for a replay."""
        return cls(done_at, detail == _FORCED)


class Item(NamedTuple):
    """One item of the delivery: its verdict before (None: it had none) and after."""

    position: int
    message_id: str | None
    before: Verdict | None
    after: Verdict

    @property
    def changed(self) -> bool:
        """Tell whether the verdict differs from before."""
        return self.before is None or self.before[:2] != self.after[:2]


class TrackerStatus(NamedTuple):
    """The status of a tracker."""

    status: str | None
    status_milestone: str | None
    latest_occurrence: str | None


class Movement(NamedTuple):
    """A tracker whose row changed. `before` is None for a new one."""

    source: str
    tracker_id: str
    before: TrackerStatus | None
    after: TrackerStatus


class Replayed(NamedTuple):
    """The effect of a replay, real or in a dry run. `problem` says why the body cannot be read."""

    delivery_id: str
    changed: bool
    items: tuple[Item, ...]
    trackers: tuple[Movement, ...] = ()
    problem: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as the API shows it."""
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
    """Replays stored deliveries, inside transactions of the caller."""

    def __init__(self, database: Database, max_future: timedelta, subscriptions: Sequence[Subscription] = ()) -> None:
        self._database = database
        self._max_future = max_future
        self._ledger = Ledger(database, subscriptions)

    def replay(self, connection: Connection, submission: Submission, options: ReplayOptions) -> Replayed:
        """Replay a delivery and return what changes. Raises NotFound, UnexpectedShape.

        Raises AlreadyRunning if an erasure has changed the body since it was read.

        Decides items without a verdict, and items in quarantine without an identity, of which nothing can be a duplicate. All
        others keep their verdict, unless the replay is forced.
        """
        savepoint = connection.begin_nested()
        replayed = self._replay(connection, submission, options)
        if options.dry_run:
            savepoint.rollback()
        else:
            savepoint.commit()
        return replayed

    def _replay(self, connection: Connection, submission: Submission, options: ReplayOptions) -> Replayed:
        row = self._lock(connection, submission.delivery.id, options.as_read)
        record = _read_record(connection, row.id)
        wanted = tuple([record.name(message) for message in submission.messages if record.is_open(message, force=options.force)])
        if not wanted:
            problem = None if submission.error is None else submission.error.message
            return Replayed(row.id, changed=False, items=_compare(record, {}), problem=problem)
        batch_state = BatchState(self._max_future, from_micros(options.now), options.force)
        self._ledger.read(connection, batch_state, [submission._replace(messages=wanted)])
        known = dict(batch_state.trackers)
        decided = _decide(batch_state, submission.delivery, wanted, record)
        changed = _remove_changed(connection, batch_state, row.id, record, decided)
        _write_verdicts(connection, record, wanted, decided)
        self._ledger.write(connection, batch_state)
        items = _compare(record, decided)
        _write_counts(connection, row, items)
        timelines = batch_state.timelines
        changed |= bool(batch_state.changed or timelines.new or timelines.revised) or any(item.changed for item in items)
        trackers = tuple([_compare_tracker(key, known, batch_state) for key in sorted(batch_state.changed)])
        return Replayed(row.id, changed, items, trackers)

    def _lock(self, connection: Connection, delivery_id: str, as_read: str | None) -> DeliveryRow:
        """Return the delivery's row, locked: of two replays, the second one sees what the first one did."""
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
    """The stored rows of a delivery's items, by position: messages, repeated messages, and the quarantine."""

    messages: dict[int, MessageRow]
    repeated: dict[int, RepeatedMessageRow]
    parts: dict[int, list[QuarantineRow]]

    def is_open(self, message: Message, *, force: bool) -> bool:
        """Tell whether to decide an item. An erased one keeps its verdict: its content is gone."""
        position = message.position
        kept, seen = self.messages.get(position), self.repeated.get(position)
        if message.raw == BLANK and (kept is not None or seen is not None):
            return False
        if kept is not None:
            return force and (kept.outcome == "quarantined" or position in self.parts)
        return seen is None or (seen.outcome == "quarantined" and (force or seen.message_id is None))

    def name(self, message: Message) -> Message:
        """Return a message with its stored id, if it has none of its own."""
        kept = self.messages.get(message.position)
        return message if kept is None or not message.is_anonymous else name_anonymous(message, kept.message_id)


def _read_record(connection: Connection, delivery_id: str) -> _Record:
    messages, repeated, quarantine = table_of(MessageTable), table_of(RepeatedMessageTable), table_of(QuarantineTable)
    rows = connection.execute(select(messages).where(messages.c.delivery_id == delivery_id))
    kept = {row.position: MessageRow(*row) for row in rows}
    rows = connection.execute(select(repeated).where(repeated.c.delivery_id == delivery_id))
    seen = {row.position: RepeatedMessageRow(*row) for row in rows}
    parts: dict[int, list[QuarantineRow]] = {}
    rows = connection.execute(select(quarantine).where(quarantine.c.delivery_id == delivery_id))
    for row in rows:
        parts.setdefault(row.position, []).append(QuarantineRow(*row)._replace(raw=bytes(row.raw)))
    return _Record(kept, seen, parts)


_Decisions = dict[int, tuple[str | None, Verdict]]
"""The id and the verdict of each item that was decided, by its position."""


def _decide(batch_state: BatchState, delivery: Delivery, wanted: Sequence[Message], record: _Record) -> _Decisions:
    decided: _Decisions = {}
    for message in wanted:
        kept = record.messages.get(message.position)
        if kept is None:
            (decided[message.position],) = batch_state.decide(delivery, [message]).messages
        else:
            verdict = batch_state.decide_again(delivery, message, kept.message_id)
            decided[message.position] = kept.message_id, better_verdict(Verdict(kept.outcome, kept.reason), verdict)
    return decided


def _compare(record: _Record, decided: _Decisions) -> tuple[Item, ...]:
    rows: list[MessageRow | RepeatedMessageRow] = [*record.messages.values(), *record.repeated.values()]
    before: _Decisions = {row.position: (row.message_id, Verdict(row.outcome, row.reason)) for row in rows}
    after = before | decided
    return tuple([Item(place, after[place][0], before.get(place, (None, None))[1], after[place][1]) for place in sorted(after)])


def _compare_tracker(key: tuple[str, str], known: dict[tuple[str, str], TrackerRow], batch_state: BatchState) -> Movement:
    before = known.get(key)
    return Movement(*key, None if before is None else _status_of(before), _status_of(batch_state.trackers[key]))


def _status_of(tracker: TrackerRow) -> TrackerStatus:
    return TrackerStatus(tracker.status, tracker.status_milestone, tracker.latest_occurrence)


def _remove_changed(
    connection: Connection, batch_state: BatchState, delivery_id: str, record: _Record, decided: _Decisions
) -> bool:
    """Remove stored rows of items that are now decided differently, and leave only new rows in the batch.

    Return whether any row differs.
    """
    copies = {row.position: row for row in batch_state.repeated if row.delivery_id == delivery_id}
    elsewhere = [row for row in batch_state.repeated if row.delivery_id != delivery_id]  # replaced by a corrected message
    parts: dict[int, list[QuarantineRow]] = {}
    for row in batch_state.quarantined:
        parts.setdefault(row.position, []).append(row)
    changed_copies = [place for place in decided if record.repeated.get(place) != copies.get(place)]
    changed_parts = [place for place in decided if _contents(record.parts.get(place)) != _contents(parts.get(place))]
    batch_state.repeated = elsewhere + [copies[place] for place in changed_copies if place in copies]
    batch_state.quarantined = [row for row in batch_state.quarantined if row.position in changed_parts]
    for table, places in ((table_of(RepeatedMessageTable), changed_copies), (table_of(QuarantineTable), changed_parts)):
        if places:
            connection.execute(delete(table).where(table.c.delivery_id == delivery_id, table.c.position.in_(places)))
    return bool(changed_copies or changed_parts)


def _contents(rows: Sequence[QuarantineRow] | None) -> set[tuple[Any, ...]]:
    return {row[1:] for row in rows or ()}


def _write_verdicts(connection: Connection, record: _Record, wanted: Sequence[Message], decided: _Decisions) -> None:
    """Update the verdicts of stored messages, and their trackers, which could not be read before."""
    messages = table_of(MessageTable)
    new = []
    for message in wanted:
        kept, (_, verdict) = record.messages.get(message.position), decided[message.position]
        if kept is not None and (kept.outcome, kept.reason) != verdict[:2]:
            values = {
                "outcome": verdict.outcome,
                "reason": verdict.reason,
                "tracker_id": message.tracker_id,
                "topic": message.topic,
            }
            new.append({"of": kept.source, "named": kept.message_id, **values})
    if new:
        named = messages.c.source == bindparam("of"), messages.c.message_id == bindparam("named")
        connection.execute(update(messages).where(*named), new)


def _write_counts(connection: Connection, row: DeliveryRow, items: Sequence[Item]) -> None:
    """Update the counts in the delivery's row; the answer stays as it was sent."""
    counts = Counter(item.after.outcome for item in items)
    values = {"received": len(items), **{outcome: counts[outcome] for outcome in OUTCOMES}}
    if any(getattr(row, name) != number for name, number in values.items()):
        deliveries = table_of(DeliveryTable)
        connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(values))
