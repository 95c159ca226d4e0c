"""The whole state again, in an empty database, from the calls that are kept: each is decided again in the order of before.

What operators had decided again is so here too, in its place. Nobody is told of changes: there is no outbox.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, inspect, select

from receiver.clock import from_micros
from receiver.domain.batch import BatchState
from receiver.domain.erasure import BLANK
from receiver.domain.records import Delivery, Submission
from receiver.domain.rows import AuditRow, BodyRow, DeliveryRow, LinkRow, SearchTermRow
from receiver.errors import ConfigurationError, ReceiverError, StorageUnavailable
from receiver.maintenance.pruned import PrunedHistory, read_history, take_over
from receiver.storage.database import Database
from receiver.storage.ledger import Ledger
from receiver.storage.replay import ACTION, ReplayDecider, ReplayOptions
from receiver.storage.statements import Insert
from receiver.storage.stored_deliveries import can_be_decided, has_body, make_delivery
from receiver.storage.tables.ledger import (
    BodyTable,
    DeliveryTable,
    EventTable,
    LinkTable,
    MessageTable,
    QuarantineTable,
    RepeatedMessageTable,
    SearchTermTable,
    TrackerTable,
)
from receiver.storage.tables.metadata import METADATA, table_of
from receiver.storage.tables.operations import AuditTable, ProcessTable, TableVersionTable
from receiver.storage.tables.outbox import DeadTable, DispatchTable
from receiver.storage.tables.revisions import SUPERSEDED, ChangeTable, ShipmentChangeTable
from receiver.storage.transactions import Transactions
from receiver.writer.inbox import make_harmless

_CALLS = 200  # in one transaction
_BYTES = 8 * 2**20  # of bodies in one transaction, if it has more than one call
_ROWS = 500

_MADE = (
    *(DeliveryTable, BodyTable, MessageTable, RepeatedMessageTable, QuarantineTable),
    *(EventTable, ChangeTable, TrackerTable, SearchTermTable, LinkTable),
)
_LEFT = (DispatchTable, DeadTable, ShipmentChangeTable, TableVersionTable, ProcessTable)

_Step = DeliveryRow | AuditRow
Take = Callable[[Delivery], Submission]
"""Reads a kept call into messages; raises UnexpectedShape for one that brought nothing."""


class RebuildCounts(NamedTuple):
    """A call with its headers and bytes (None: not kept), and what it says, if it can be decided."""

    row: DeliveryRow
    stored: BodyRow | None
    submission: Submission | None

    @property
    def blanks(self) -> set[int]:
        """Return the positions of the items that are `null`: an erasure leaves them so."""
        messages = () if self.submission is None else self.submission.messages
        return {message.position for message in messages if message.raw == BLANK}


class Rebuild:
    """From a snapshot of one database into another, empty one, whose tables are made."""

    def __init__(self, source: Connection, target: Database, take: Take, max_future: timedelta) -> None:
        self._source = source
        self._take = take
        self._max_future = max_future
        self._transactions = Transactions(target)
        self._ledger = Ledger(target)
        self._replays = ReplayDecider(target, max_future)
        self._add_deliveries = Insert(target, table_of(DeliveryTable), DeliveryRow)
        self._add_bodies = Insert(target, table_of(BodyTable), BodyRow)
        self._add_terms = Insert(target, table_of(SearchTermTable), SearchTermRow)
        self._add_links = Insert(target, table_of(LinkTable), LinkRow)
        self._has_history = False

    def count_calls(self) -> int:
        """Return how many calls are to be taken."""
        return int(self._source.execute(select(func.count()).select_from(table_of(DeliveryTable))).scalar_one())

    def run(self) -> Iterator[int]:
        """Take the calls; give the number of those that each transaction has kept. Raises StorageUnavailable."""
        for step in self._steps():
            if isinstance(step, AuditRow):
                self._replay(step)
            else:
                self._keep(step)
                yield len(step)
        if self._has_history:
            self._copy_names()

    def copy_rest(self) -> None:
        """Copy what is not made by calls: customers, windows, uses of tokens, counts, what operators did."""
        made = {SUPERSEDED, *(table_of(model) for model in (*_MADE, *_LEFT))}
        for table in METADATA.sorted_tables:
            if table in made:
                continue
            for rows in self._stream(select(table)).mappings().partitions(_ROWS):
                values = [{str(name): value for name, value in row.items()} for row in rows]
                self._transactions.run(lambda connection, t=table, v=values: connection.execute(insert(t), v))  # type: ignore[misc]

    def close(self) -> None:
        """Close the connection to the new database."""
        self._transactions.close()

    def _stream(self, statement: Any) -> Any:
        return self._source.execute(statement, execution_options={"stream_results": True, "yield_per": _ROWS})

    def _steps(self) -> Iterator[list[RebuildCounts] | AuditRow]:
        """Give the calls in the order in which they were decided, as many as go into one transaction, and the replays between.

        That order is one of commits; within one it is not on record, and taken to be that of arrival.
        """
        deliveries, audit = table_of(DeliveryTable), table_of(AuditTable)
        in_order = select(deliveries).order_by(deliveries.c.decided_at, deliveries.c.id)
        calls: Iterator[_Step] = (DeliveryRow(*row) for row in self._stream(in_order))
        replays = select(audit).where(audit.c.action == ACTION).order_by(audit.c.done_at, audit.c.id)
        orders: Iterator[_Step] = (AuditRow(*row) for row in self._stream(replays))
        chunk: list[DeliveryRow] = []
        for step in heapq.merge(calls, orders, key=_moment):
            if chunk and (isinstance(step, AuditRow) or _is_full(chunk, step)):
                yield self._read(chunk)
                chunk = []
            if isinstance(step, AuditRow):
                yield step
            else:
                chunk.append(step)
        if chunk:
            yield self._read(chunk)

    def _read(self, rows: Sequence[DeliveryRow]) -> list[RebuildCounts]:
        bodies = table_of(BodyTable)
        stored = select(bodies).where(bodies.c.delivery_id.in_([row.id for row in rows]))
        found = {row.delivery_id: BodyRow._make(row) for row in self._source.execute(stored)}
        return [self._understand(row, found.get(row.id)) for row in rows]

    def _understand(self, row: DeliveryRow, stored: BodyRow | None) -> RebuildCounts:
        if stored is None or not can_be_decided(row) or not has_body(row, stored.body):
            return RebuildCounts(row, stored, None)
        try:
            return RebuildCounts(row, stored, self._take(make_delivery(row, stored.headers, bytes(stored.body))))
        except ReceiverError:
            return RebuildCounts(row, stored, None)

    def _keep(self, calls: Sequence[RebuildCounts]) -> None:
        """Keep calls in one transaction. One that fails for its content is taken alone, and if it still does, set apart."""
        history = read_history(self._source, [call.row.id for call in calls if call.submission is None or call.blanks])
        self._has_history |= bool(history.trackers)
        try:
            self._transactions.run(lambda connection: self._decide(connection, calls, history))
        except StorageUnavailable:
            raise
        except Exception:
            if len(calls) > 1:
                for call in calls:
                    self._keep([call])
                return
            call, submission = calls[0], calls[0].submission
            if submission is None:
                raise
            harmless = submission._replace(messages=tuple(map(make_harmless, submission.messages)))
            self._transactions.run(lambda connection: self._decide(connection, [call._replace(submission=harmless)], history))

    def _decide(self, connection: Connection, calls: Sequence[RebuildCounts], history: PrunedHistory) -> None:
        batch_state = BatchState(self._max_future, from_micros(calls[0].row.decided_at))
        self._ledger.read(connection, batch_state, [call.submission for call in calls if call.submission is not None])
        self._ledger.read_keys(connection, batch_state, set(history.trackers), history.message_keys(), history.contents())
        for call in calls:
            batch_state.now = from_micros(call.row.decided_at)
            if call.submission is None:
                take_over(batch_state, history, call.row.id)
                continue
            erased = call.blanks & history.positions(call.row.id)
            for message in call.submission.messages:
                if message.position in erased:  # what it said is gone
                    take_over(batch_state, history, call.row.id, message.position)
                else:
                    batch_state.decide(call.submission.delivery, [message])
        self._ledger.write(connection, batch_state)
        self._add_deliveries.execute(connection, [call.row for call in calls])
        self._add_bodies.execute(connection, [call.stored for call in calls if call.stored is not None])

    def _replay(self, entry: AuditRow) -> None:
        """Decide a call again as an operator had it done; what was taken over as it stands needs that no more."""
        deliveries = table_of(DeliveryTable)
        found = self._source.execute(select(deliveries).where(deliveries.c.id == entry.subject)).first()
        (call,) = self._read([DeliveryRow(*found)]) if found is not None else (None,)
        if call is not None and call.submission is not None:
            submission, order = call.submission, ReplayOptions.from_audit(entry.done_at, entry.detail)
            try:
                self._transactions.run(lambda connection: self._replays.replay(connection, submission, order))
            except StorageUnavailable:
                raise
            except Exception:  # it stays undecided here; the comparison counts it
                return

    def _copy_names(self) -> None:
        """Copy the words and the links of trackers whose calls were taken over as they stand: what told them is gone."""
        for model, add in ((SearchTermTable, self._add_terms), (LinkTable, self._add_links)):
            for rows in self._stream(select(table_of(model))).partitions(_ROWS):
                values = [tuple(row) for row in rows]
                self._transactions.run(lambda connection, a=add, v=values: a.execute(connection, v))  # type: ignore[misc]


def check_empty(database: Database) -> None:
    """Raise ConfigurationError unless there is nothing in a database, or only empty tables of ours. The caller has taken it."""
    with database.connect_writer() as connection:
        present = set(inspect(connection).get_table_names()) - {"alembic_version", table_of(TableVersionTable).name}
        foreign = present - METADATA.tables.keys()
        full = [name for name in sorted(present - foreign) if connection.execute(select(METADATA.tables[name]).limit(1)).first()]
    if foreign or full:
        raise ConfigurationError(f"{database} is not empty (table {min([*foreign, *full])}). Name one with nothing in it.")


def _moment(step: _Step) -> tuple[int, int]:
    return (step.done_at, 1) if isinstance(step, AuditRow) else (step.decided_at, 0)


def _is_full(chunk: Sequence[DeliveryRow], another: DeliveryRow) -> bool:
    return len(chunk) >= _CALLS or sum(row.body_bytes for row in chunk) + another.body_bytes > _BYTES
