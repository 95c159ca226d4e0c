"""Deliveries that are brought in, decided in the database as a webhook is. A dry run does the same and takes it back."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from receiver.clock import from_micros
from receiver.domain.batch import BatchState
from receiver.domain.changes import Subscription
from receiver.domain.imports import Imported
from receiver.domain.records import Submission
from receiver.domain.replays import Movement, compare_trackers, warn_of_future
from receiver.domain.rows import TrackerRow
from receiver.storage.batches import BatchKeeper
from receiver.storage.database import Database

_Key = tuple[str, str]


class ImportKeeper:
    """Stores deliveries that are brought in, inside transactions of the caller."""

    def __init__(self, database: Database, max_future: timedelta, subscriptions: Sequence[Subscription] = ()) -> None:
        self._max_future = max_future
        self._keeper = BatchKeeper(database, max_future, subscriptions)

    def keep(self, connection: Connection, submission: Submission, now: datetime, *, dry_run: bool) -> Imported:
        """Store a delivery, or with `dry_run` only find out what that would change. The delivery must have no error."""
        savepoint = connection.begin_nested()
        batch_state = self._keeper.read(connection, [submission], now)
        before = dict(batch_state.trackers)
        decided = self._keeper.decide(batch_state, [submission])
        self._keeper.write(connection, batch_state, decided)
        if dry_run:
            savepoint.rollback()
        else:
            savepoint.commit()
        (kept,) = decided
        assert kept.receipt is not None
        delivery = submission.delivery
        moved = self._compare(batch_state, before, now)
        return Imported(delivery.source, delivery.origin, kept.receipt, kept.counts, moved, dry_run)

    def _compare(self, batch_state: BatchState, before: dict[_Key, TrackerRow], now: datetime) -> tuple[Movement, ...]:
        """Return the trackers that are new or moved to another event."""
        found = []
        for key in sorted(batch_state.changed):
            known, after = before.get(key), batch_state.trackers[key]
            if known is None or known.moves != after.moves:
                received = now if after.applied_at is None else from_micros(after.applied_at)
                warning = warn_of_future(after.latest_occurrence, received, now, self._max_future)
                found.append(compare_trackers(known, after, warning))
        return tuple(found)
