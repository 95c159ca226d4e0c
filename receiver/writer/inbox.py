"""The inbox: it stores deliveries. One transaction per batch reads the known state, decides, and writes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from receiver.domain.batch import BatchState
from receiver.domain.changes import Subscription
from receiver.domain.records import Answer, Delivery, Submission
from receiver.domain.rows import DeliveryRow
from receiver.domain.undecidable import UNDECIDABLE, set_aside
from receiver.errors import ReadingFailed, ReceiverError, RowsRefused, name_error
from receiver.storage.batches import BatchKeeper, KeptDelivery
from receiver.writer.commands.operators import NoteTokenUses
from receiver.writer.executor import CommandExecutor

_log = structlog.get_logger()
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
        self._keeper = BatchKeeper(executor.database, max_future, subscriptions)

    def keep(self, batch: Sequence[Submission], now: datetime) -> list[Answer | None]:
        """Store a batch and return the answers, in its order. An answer means: committed and synced. None means: not stored.

        If a batch fails because of its content, or because our own code failed, it is decided again one delivery at a time, so
        that one bad body harms no other. Of a delivery that fails alone, the messages that fail go to quarantine. After an error
        of the database nothing is stored, except that what refused some rows may take the others. Never raises.
        """
        try:
            return [*self._run(batch, now)]
        except Exception as error:
            if len(batch) > 1 and (isinstance(error, RowsRefused) or not isinstance(error, ReceiverError)):
                return [answer for submission in batch for answer in self.keep([submission], now)]
            if isinstance(error, ReceiverError):
                self._fault = error.message
                return [None] * len(batch)
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
        try:
            aside = set_aside(submission, lambda part: self._fails(part, now))
            (answer,) = self._run([aside], now)
        except ReceiverError as error:
            self._fault = error.message
            return None
        except Exception as error:
            _log.error("delivery_not_stored", delivery_id=submission.delivery.id, error=name_error(error))
            return None
        self._undecidable[submission.delivery.source] += sum(each.quarantine_reason == UNDECIDABLE for each in aside.messages)
        return answer

    def _fails(self, submission: Submission, now: datetime) -> bool:
        part = submission._replace(delivery=submission.delivery._replace(body=b""))
        return self._executor.transactions.fails(lambda connection: self._decide(connection, [part], now))

    def _keep(self, connection: Connection, batch: Sequence[Submission], now: datetime) -> list[Answer]:
        batch_state, decided, self._written = self._decide(connection, batch, now)
        self._has_changes |= bool(batch_state.changes or batch_state.shipment_changes)
        self._note_token_uses(connection, (submission.delivery for submission in batch))
        return [kept.answer for kept in decided]

    def _decide(
        self, connection: Connection, batch: Sequence[Submission], now: datetime
    ) -> tuple[BatchState, list[KeptDelivery], list[DeliveryRow]]:
        batch_state = self._keeper.read(connection, batch, now)
        decided = self._keeper.decide(batch_state, batch)
        return batch_state, decided, self._keeper.write(connection, batch_state, decided)

    def _note_token_uses(self, connection: Connection, deliveries: Iterable[Delivery]) -> None:
        uses = {(d.source, d.token): d.received_at for d in deliveries if d.token is not None and d.test_run is None}
        due = {key: at for key, at in uses.items() if at - self._token_uses.get(key, 0) >= _TOKEN_USE_MICROS}
        if due:
            NoteTokenUses(due).write(self._executor, connection)
            self._token_uses |= due
