"""Replay of a stored delivery: items without a verdict or in quarantine are decided; the others keep their verdicts.

A replay decides as of the delivery's own arrival. It is not a delivery itself: it adds no row, counts nowhere and uses no token.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, delete

from receiver.clock import from_micros
from receiver.domain.batch import BatchState
from receiver.domain.changes import Subscription
from receiver.domain.records import Delivery, Message, Submission
from receiver.domain.replays import Movement, Replayed, ReplayOptions, compare_trackers, warn_of_future
from receiver.domain.rows import DeliveryRow, QuarantineRow, TrackerRow
from receiver.domain.undecidable import set_aside
from receiver.domain.verdicts import Verdict, better_verdict
from receiver.errors import ReceiverError, name_error
from receiver.storage.database import Database
from receiver.storage.faults import Fault, find_fault
from receiver.storage.ledger import Ledger
from receiver.storage.statements import chunks
from receiver.storage.stored_items import (
    Decisions,
    StoredItems,
    change_message,
    compare_items,
    lock_delivery,
    read_items,
    write_counts,
)
from receiver.storage.tables.ledger import QuarantineTable, RepeatedMessageTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.undo import ForceUndo

_log = structlog.get_logger()
_KEYS = 500  # in one statement
_STATE = QuarantineRow._fields.index("closed_at")  # this field and those behind it are the state of a row, not its content


class ReplayDecider:
    """Replays stored deliveries, inside transactions of the caller."""

    def __init__(self, database: Database, max_future: timedelta, subscriptions: Sequence[Subscription] = ()) -> None:
        self._database = database
        self._max_future = max_future
        self._ledger = Ledger(database, subscriptions)
        self._undo = ForceUndo(database, max_future, self._ledger)

    def replay(self, connection: Connection, submission: Submission, options: ReplayOptions) -> Replayed:
        """Replay a delivery and return what changes. Raises NotFound, UnexpectedShape.

        Raises AlreadyRunning if an erasure has changed the body since it was read.

        Decides items without a verdict, and items in quarantine without an identity, of which nothing can be a duplicate. All
        others keep their verdict, unless the replay is forced or a retry. Those that something fails on keep it too. To undo a
        forced replay, takes events back instead (`ForceUndo`).
        """
        try:
            return self._attempt(connection, submission, options)
        except Exception as error:
            if options.undo or not _may_be_one_message(error):
                raise
            _log.error("delivery_undecidable", delivery_id=submission.delivery.id, error=name_error(error))
        return self._attempt(connection, set_aside(submission, lambda part: self._fails(connection, part, options)), options)

    def _attempt(self, connection: Connection, submission: Submission, options: ReplayOptions) -> Replayed:
        with connection.begin_nested() as savepoint:
            replayed = (self._undo.undo if options.undo else self._replay)(connection, submission, options)
            if options.dry_run:
                savepoint.rollback()
        return replayed

    def _fails(self, connection: Connection, part: Submission, options: ReplayOptions) -> bool:
        try:
            self._attempt(connection, part, options._replace(dry_run=True))
        except Exception as error:
            if not _may_be_one_message(error):
                raise
            return True
        return False

    def _replay(self, connection: Connection, submission: Submission, options: ReplayOptions) -> Replayed:
        row = lock_delivery(connection, self._database, submission.delivery.id, options.as_read)
        record = read_items(connection, row.id)
        wanted = tuple(
            [
                record.name(message)
                for message in submission.messages
                if record.is_open(message, force=options.force, retry=options.retry)
            ]
        )
        if not wanted:
            problem = None if submission.error is None else submission.error.message
            return Replayed(row.id, changed=False, items=compare_items(record, {}), problem=problem)
        batch_state = BatchState(self._max_future, from_micros(options.now), options.force)
        self._ledger.read(connection, batch_state, [submission._replace(messages=wanted)])
        known = dict(batch_state.trackers)
        decided = _decide(batch_state, submission.delivery, wanted, record)
        changed = _remove_changed(connection, batch_state, row.id, record, decided)
        _write_verdicts(connection, record, wanted, decided)
        self._ledger.write(connection, batch_state)
        items = compare_items(record, decided)
        write_counts(connection, row, items)
        timelines = batch_state.timelines
        changed |= bool(batch_state.changed or timelines.new or timelines.revised) or any(item.changed for item in items)
        trackers = [self._compare(row, options, known.get(key), batch_state.trackers[key]) for key in sorted(batch_state.changed)]
        return Replayed(row.id, changed, items, tuple(trackers))

    def _compare(self, row: DeliveryRow, options: ReplayOptions, before: TrackerRow | None, after: TrackerRow) -> Movement:
        times = from_micros(row.received_at), from_micros(options.now)
        return compare_trackers(before, after, warn_of_future(after.latest_occurrence, *times, self._max_future))


def _may_be_one_message(error: Exception) -> bool:
    """Tell whether content, or our own code, is the cause of an error, so that the other messages may do without it."""
    return not isinstance(error, ReceiverError) and find_fault(error) in {Fault.CONTENT, Fault.CODE}


def _decide(batch_state: BatchState, delivery: Delivery, wanted: Sequence[Message], record: StoredItems) -> Decisions:
    decided: Decisions = {}
    for message in wanted:
        stored = record.messages.get(message.position)
        if stored is None:
            (decided[message.position],) = batch_state.decide(delivery, [message]).messages
        else:
            verdict = batch_state.decide_again(delivery, message, stored.message_id)
            decided[message.position] = stored.message_id, better_verdict(Verdict(stored.outcome, stored.reason), verdict)
    return decided


def _remove_changed(
    connection: Connection, batch_state: BatchState, delivery_id: str, record: StoredItems, decided: Decisions
) -> bool:
    """Remove stored rows of items that are now decided differently, and leave only new rows in the batch.

    Return whether any row differs.
    """
    copies = {row.position: row for row in batch_state.repeated if row.delivery_id == delivery_id}
    elsewhere = [row for row in batch_state.repeated if row.delivery_id != delivery_id]  # replaced by a corrected message
    changed_copies = [position for position in decided if record.repeated.get(position) != copies.get(position)]
    known_parts = [row for position in decided for row in record.parts.get(position, ())]
    batch_state.quarantined, gone = _compare_parts(known_parts, batch_state.quarantined)
    batch_state.repeated = elsewhere + [copies[position] for position in changed_copies if position in copies]
    copies_table, quarantine = table_of(RepeatedMessageTable), table_of(QuarantineTable)
    if changed_copies:
        here = copies_table.c.delivery_id == delivery_id
        connection.execute(delete(copies_table).where(here, copies_table.c.position.in_(changed_copies)))
    for ids in chunks(gone, _KEYS):
        connection.execute(delete(quarantine).where(quarantine.c.id.in_(ids)))
    return bool(changed_copies or gone or batch_state.quarantined)


def _compare_parts(known: Sequence[QuarantineRow], new: Sequence[QuarantineRow]) -> tuple[list[QuarantineRow], list[str]]:
    """Return the rows to insert and the ids of the rows to delete.

    A known row with the same content stays. If only the description or the bytes differ, the new row gets its id and its state:
    an item that an operator has dismissed stays dismissed.
    """
    contents, wanted = ({row[1:_STATE] for row in rows} for rows in (known, new))
    gone = [row for row in known if row[1:_STATE] not in wanted]
    by_place = {_place_of(row): row for row in gone}
    added = []
    for row in new:
        if row[1:_STATE] not in contents:
            before = by_place.pop(_place_of(row), None)
            added.append(row if before is None else QuarantineRow._make((before.id, *row[1:_STATE], *before[_STATE:])))
    return added, [row.id for row in gone]


def _place_of(row: QuarantineRow) -> tuple[Any, ...]:
    return row.delivery_id, row.position, row.event_position, row.reason


def _write_verdicts(connection: Connection, record: StoredItems, wanted: Sequence[Message], decided: Decisions) -> None:
    """Update the verdicts of stored messages, and their trackers, which could not be read before."""
    for message in wanted:
        stored, (_, verdict) = record.messages.get(message.position), decided[message.position]
        if stored is not None:  # also with the same verdict: a repaired copy may have replaced what was decided
            values = {"outcome": verdict.outcome, "reason": verdict.reason}
            change_message(connection, stored, **values, tracker_id=message.tracker_id, topic=message.topic)
