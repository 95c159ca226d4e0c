"""The inbox: it stores deliveries. One transaction per batch reads the known state, decides, and writes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import orjson
import structlog
from sqlalchemy import Connection

from receiver.clock import to_micros
from receiver.domain import answers
from receiver.domain.batch import BatchState
from receiver.domain.changes import Subscription
from receiver.domain.records import Answer, Delivery, Message, Submission
from receiver.domain.rows import BodyRow, DeliveryRow
from receiver.domain.storable import make_storable
from receiver.domain.verdicts import OUTCOMES
from receiver.errors import ReadingFailed, ReceiverError, Unauthorized, name_error
from receiver.storage.ledger import Ledger
from receiver.storage.statements import Insert
from receiver.storage.tables.ledger import BodyTable, DeliveryTable
from receiver.storage.tables.metadata import table_of
from receiver.writer.commands.operators import NoteTokenUses
from receiver.writer.executor import CommandExecutor

_log = structlog.get_logger()
_NONE: Mapping[str, int] = dict.fromkeys(OUTCOMES, 0)
_TOKEN_USE_MICROS = 60_000_000  # a token's last use is written once a minute


class Inbox:
    """Stores batches of deliveries. Only the writing process uses it."""

    def __init__(
        self,
        executor: CommandExecutor,
        max_future: timedelta,
        subscriptions: Sequence[Subscription] = (),
    ) -> None:
        self._executor = executor
        self._written: list[DeliveryRow] = []
        self._verdicts: Counter[tuple[str, str]] = Counter()
        self._undecidable: Counter[str] = Counter()
        self._token_uses: dict[tuple[str, str], int] = {}
        self._fault: str | None = None
        self._has_changes = False
        self._max_future = max_future
        self._ledger = Ledger(executor.database, subscriptions)
        self._add_deliveries = Insert(executor.database, table_of(DeliveryTable), DeliveryRow)
        self._add_bodies = Insert(executor.database, table_of(BodyTable), BodyRow)

    def keep(self, batch: Sequence[Submission], now: datetime) -> list[Answer | None]:
        """Store a batch and return the answers, in its order. An answer means: committed and synced. None means: not stored.

        If a batch fails because of its content, or because our own code failed, it is decided again one delivery at a time, so
        that one bad body harms no other. A delivery that fails alone is stored with all its messages in quarantine. After an
        error of the database nothing is stored. Never raises.
        """
        try:
            return [*self._run(batch, now)]
        except ReceiverError as error:
            self._fault = error.message
            return [None] * len(batch)
        except Exception as error:
            if len(batch) > 1:
                return [answer for submission in batch for answer in self.keep([submission], now)]
            _log.error("delivery_undecidable", delivery_id=batch[0].delivery.id, error=name_error(error))
            return [self._keep_undecidable(batch[0], now)]

    def _run(self, batch: Sequence[Submission], now: datetime) -> list[Answer]:
        stored = self._executor.transactions.run(lambda connection: self._keep(connection, batch, now))
        self._verdicts += self._executor.counts.add(self._written)
        for submission in batch:
            if isinstance(submission.error, ReadingFailed):
                self._undecidable[submission.delivery.source] += 1
                _log.error("delivery_failed", delivery_id=submission.delivery.id, error=submission.error.cause)
        return stored

    def take_verdicts(self) -> dict[tuple[str, str], int]:
        """Return the number of messages by source and outcome since the last call of this method."""
        verdicts, self._verdicts = self._verdicts, Counter()
        return dict(verdicts)

    def take_changes(self) -> bool:
        """Tell whether targets may have got changes since the last call of this method."""
        has_changes, self._has_changes = self._has_changes, False
        return has_changes

    def take_fault(self) -> str | None:
        """Return the reason if the database failed to store a batch since the last call of this method, or None."""
        fault, self._fault = self._fault, None
        return fault

    def take_undecidable(self) -> dict[str, int]:
        """Return the number of messages and deliveries, by source, that our own code failed on since the last call."""
        undecidable, self._undecidable = self._undecidable, Counter()
        return dict(undecidable)

    def _keep_undecidable(self, submission: Submission, now: datetime) -> Answer | None:
        harmless = submission._replace(messages=tuple(map(make_harmless, submission.messages)))
        try:
            (answer,) = self._run([harmless], now)
        except ReceiverError as error:
            self._fault = error.message
            return None
        except Exception as error:
            _log.error("delivery_not_stored", delivery_id=submission.delivery.id, error=name_error(error))
            return None
        self._undecidable[submission.delivery.source] += len(submission.messages)
        return answer

    def _keep(self, connection: Connection, batch: Sequence[Submission], now: datetime) -> list[Answer]:
        """Read, decide and write one batch, inside its transaction.

        The race: another process stores one of our messages, or the first event of one of our trackers, between our reads and our
        writes. For existing trackers, locked rows prevent it. For new keys the insert is the check: if it does not write every
        row, another process was first, and the batch is decided again.

        No two batches can wait for each other. Existing rows are locked first, in sorted order. After that a batch waits only for
        keys that another batch is inserting, again in sorted order, trackers before messages. An insert never waits for an
        existing row.
        """
        batch_state = BatchState(self._max_future, now)
        self._ledger.read(connection, batch_state, batch)
        results = []
        for submission in batch:
            if submission.answer is not None:
                results.append((submission, submission.answer, _NONE))
            elif submission.error is not None:
                answer = answers.for_error(submission.error, submission.delivery.id)
                results.append((submission, answer, _NONE))
            else:
                receipt = batch_state.decide(submission.delivery, submission.messages)
                counts = answers.count_outcomes(receipt)
                results.append((submission, answers.for_receipt(receipt, counts), counts))
        self._ledger.write(connection, batch_state)
        self._has_changes |= bool(batch_state.changes or batch_state.shipment_changes)
        self._write_deliveries(connection, results, to_micros(now))
        return [answer for _, answer, _ in results]

    def _write_deliveries(
        self, connection: Connection, results: Sequence[tuple[Submission, Answer, Mapping[str, int]]], now: int
    ) -> None:
        deliveries, bodies = [], []
        for submission, answer, counts in results:
            delivery = submission.delivery
            deliveries.append(_make_row(submission, answer, counts, now))
            headers = orjson.dumps(delivery.headers).decode()
            bodies.append(BodyRow(delivery.id, headers, delivery.body, answer.body))
        self._written = deliveries
        self._add_deliveries.execute(connection, deliveries)
        self._add_bodies.execute(connection, bodies)
        self._note_token_uses(connection, (submission.delivery for submission, _, _ in results))

    def _note_token_uses(self, connection: Connection, deliveries: Iterable[Delivery]) -> None:
        uses = {(d.source, d.token): d.received_at for d in deliveries if d.token is not None and d.test_run is None}
        due = {key: at for key, at in uses.items() if at - self._token_uses.get(key, 0) >= _TOKEN_USE_MICROS}
        if due:
            NoteTokenUses(due).write(self._executor, connection)
            self._token_uses |= due


def _make_row(submission: Submission, answer: Answer, counts: Mapping[str, int], now: int) -> DeliveryRow:
    delivery, error = submission.delivery, submission.error
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
        **counts,
        test_run=delivery.test_run,
        cause=cause,
    )


def make_harmless(message: Message) -> Message:
    """Return a message that goes to quarantine with its bytes and without a decision."""
    detail = "Internal error. Replay this delivery after an update."
    return Message(message.position, message.raw, message.digest, quarantine_reason="undecidable", detail=detail)
