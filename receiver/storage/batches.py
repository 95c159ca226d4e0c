"""A batch of deliveries in the database: read the known state, decide, and write. The same for webhooks and imports."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, select, update

from receiver.clock import to_micros
from receiver.domain import answers
from receiver.domain.batch import BatchState
from receiver.domain.changes import Subscription
from receiver.domain.records import Answer, Receipt, Submission
from receiver.domain.rows import BodyRow, DeliveryRow
from receiver.domain.storable import make_storable
from receiver.domain.verdicts import OUTCOMES
from receiver.errors import ReceiverError, Unauthorized
from receiver.storage.database import Database
from receiver.storage.faults import LostRace
from receiver.storage.ledger import Ledger
from receiver.storage.statements import Insert
from receiver.storage.stored_bodies import BodyWriter, change_body
from receiver.storage.tables.ledger import DeliveryTable
from receiver.storage.tables.metadata import table_of

_NONE: Mapping[str, int] = dict.fromkeys(OUTCOMES, 0)


class KeptDelivery(NamedTuple):
    """A delivery of a batch, our answer to it, and its numbers of messages by outcome. `receipt` is None if none was decided."""

    submission: Submission
    answer: Answer
    counts: Mapping[str, int]
    receipt: Receipt | None = None


class BatchKeeper:
    """Stores batches of deliveries, inside transactions of the caller.

    The race: another process stores one of our messages, or the first event of one of our trackers, between our reads and our
    writes. For existing trackers, locked rows prevent it. For new keys the insert is the check: if it does not write every
    row, another process was first, and the batch is decided again.

    No two batches can wait for each other. Existing rows are locked first, in sorted order. After that a batch waits only for
    keys that another batch is inserting, again in sorted order, trackers before messages. An insert never waits for an
    existing row. Batches with packages or manifests, which also update packages in the end, run one after the other.
    """

    def __init__(self, database: Database, max_future: timedelta, subscriptions: Sequence[Subscription] = ()) -> None:
        self._max_future = max_future
        self._ledger = Ledger(database, subscriptions)
        self._add_deliveries = Insert(database, table_of(DeliveryTable), DeliveryRow)
        self._bodies = BodyWriter(database)

    def read(self, connection: Connection, batch: Sequence[Submission], now: datetime) -> BatchState:
        """Read the state that a batch needs, and lock its trackers."""
        batch_state = BatchState(self._max_future, now)
        self._ledger.read(connection, batch_state, batch)
        return batch_state

    def decide(self, batch_state: BatchState, batch: Sequence[Submission]) -> list[KeptDelivery]:
        """Decide a batch in its order."""
        return [_decide(batch_state, submission) for submission in batch]

    def write(self, connection: Connection, batch_state: BatchState, decided: Sequence[KeptDelivery]) -> list[DeliveryRow]:
        """Write the decisions, the deliveries and their bodies; return the rows of the deliveries.

        A delivery that was tried before may have its row. It gets the answer that its sender got.
        """
        self._bodies.may_pack(connection)
        now = to_micros(batch_state.now)
        rows, bodies, corrected = [], [], []
        for kept in decided:
            delivery, error = kept.submission.delivery, kept.submission.error
            found = correct_answer(connection, delivery.id, error, kept.answer) if kept.submission.was_tried and error else None
            if found is not None:  # the commit that was reported as failed was done
                corrected.append(found[1])
                continue
            rows.append(_make_row(kept, now))
            content = BodyRow(delivery.id, orjson.dumps(delivery.headers).decode(), delivery.body, kept.answer.body)
            bodies.append((delivery.source, content))
        with self._ledger.writing(connection, batch_state):
            written = self._add_deliveries.execute(connection, rows), self._bodies.add(connection, bodies)
        if not all(each.is_complete for each in written):  # their ids are new: something in the database drops rows
            raise LostRace
        return rows + corrected


def correct_answer(
    connection: Connection, delivery_id: str, error: ReceiverError, answer: Answer
) -> tuple[DeliveryRow, DeliveryRow] | None:
    """Record that the sender of a stored delivery got an error; return its row before and after, or None if there is none."""
    deliveries = table_of(DeliveryTable)
    row = connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).first()
    if row is None:
        return None
    before = DeliveryRow(*row)
    sent = {"status": error.status, "outcome": error.outcome, "code": error.code, "reason": make_storable(error.message)}
    after = DeliveryRow(**{**before._asdict(), **sent})
    if after != before:
        connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(sent))
        change_body(connection, delivery_id, answer=answer.body)
    return before, after


def _decide(batch_state: BatchState, submission: Submission) -> KeptDelivery:
    if submission.answer is not None:
        return KeptDelivery(submission, submission.answer, _NONE)
    if submission.error is not None:
        return KeptDelivery(submission, answers.for_error(submission.error, submission.delivery.id), _NONE)
    receipt = batch_state.decide(submission.delivery, submission.messages)
    counts = answers.count_outcomes(receipt)
    return KeptDelivery(submission, answers.for_receipt(receipt, counts), counts, receipt)


def _make_row(kept: KeptDelivery, now: int) -> DeliveryRow:
    submission, answer, error = kept.submission, kept.answer, kept.submission.error
    delivery = submission.delivery
    cause, detail = (error.cause, error.detail) if isinstance(error, Unauthorized) else (None, None)
    return DeliveryRow(
        delivery.id,
        delivery.source,
        delivery.kind,
        delivery.method,
        make_storable(delivery.path),
        delivery.received_at,
        now,
        make_storable(delivery.peer),
        make_storable(delivery.client),
        delivery.token,
        make_storable(delivery.note or detail),
        answer.status,
        error.outcome if error else "accepted",
        error.code if error else None,
        make_storable(error.message) if error else None,
        len(delivery.body),
        len(submission.messages) if submission.served is None else submission.served,
        **kept.counts,
        test_run=delivery.test_run,
        cause=cause,
        origin=delivery.origin,
        sent_at=delivery.sent_at,
        body_number=delivery.body_number,
    )
