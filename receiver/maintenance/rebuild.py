"""Rebuild of the whole state in an empty database: all stored deliveries are decided again in their original order.

Replays by operators are repeated at the same points of that order. Targets get no changes, because there is no outbox.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, inspect, literal, select, update
from sqlalchemy.exc import SQLAlchemyError

from receiver.clock import from_micros
from receiver.domain.batch import BatchState
from receiver.domain.erasure import BLANK
from receiver.domain.records import Delivery, Submission
from receiver.domain.replays import ACTION, ReplayOptions
from receiver.domain.rows import AuditRow, BodyRow, DeliveryRow, LinkRow, SearchTermRow
from receiver.domain.undecidable import set_aside
from receiver.errors import ConfigurationError, ReceiverError, StorageUnavailable
from receiver.maintenance.pruned import PrunedHistory, read_history, take_over
from receiver.storage.completions import Completions
from receiver.storage.database import Database
from receiver.storage.ledger import Ledger, is_later
from receiver.storage.packed_bodies import unpack
from receiver.storage.replay import ReplayDecider
from receiver.storage.statements import Insert
from receiver.storage.stored_bodies import BodyWriter, read_stored
from receiver.storage.stored_deliveries import can_be_decided, has_body, make_delivery
from receiver.storage.tables.ledger import (
    IS_OPEN,
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

_DELIVERIES = 200  # in one transaction
_BYTES = 8 * 2**20  # of bodies in one transaction, if it has more than one delivery
_ROWS = 500

_REBUILT = (
    *(DeliveryTable, BodyTable, MessageTable, RepeatedMessageTable, QuarantineTable),
    *(EventTable, ChangeTable, TrackerTable, SearchTermTable, LinkTable),
)
_OMITTED = (DispatchTable, DeadTable, ShipmentChangeTable, TableVersionTable, ProcessTable)

_Step = DeliveryRow | AuditRow
ParseDelivery = Callable[[Delivery], Submission]
"""Parses a stored delivery into messages. Raises UnexpectedShape for a customer list download."""


class RebuildDelivery(NamedTuple):
    """A delivery with its headers and bytes (`stored`; None: pruned) and its parsed messages (None: it cannot be decided)."""

    row: DeliveryRow
    stored: BodyRow | None
    submission: Submission | None

    @property
    def blanks(self) -> set[int]:
        """Return the positions of items that an erasure replaced by `null`."""
        messages = () if self.submission is None else self.submission.messages
        return {message.position for message in messages if message.raw == BLANK}


class Rebuild:
    """Rebuilds a snapshot of one database in another one, which has empty tables."""

    def __init__(self, source: Connection, target: Database, parse: ParseDelivery, max_future: timedelta) -> None:
        self._source = source
        self._parse = parse
        self._max_future = max_future
        self._transactions = Transactions(target)
        self._ledger = Ledger(target)
        self._replays = ReplayDecider(target, max_future)
        self._add_deliveries = Insert(target, table_of(DeliveryTable), DeliveryRow)
        self._bodies = BodyWriter(target)
        self._add_terms = Insert(target, table_of(SearchTermTable), SearchTermRow)
        self._put_links = Insert(target, table_of(LinkTable), LinkRow, replace_if=is_later)
        self._completions = Completions(target)
        self._used_history = False

    def count_deliveries(self) -> int:
        """Return the number of deliveries to reprocess."""
        return int(self._source.execute(select(func.count()).select_from(table_of(DeliveryTable))).scalar_one())

    def run(self) -> Iterator[int]:
        """Decide all deliveries again; yield the number of deliveries of each transaction. Raises StorageUnavailable."""
        for step in self._steps():
            if isinstance(step, AuditRow):
                self._replay(step)
            else:
                self._store(step)
                yield len(step)
        if self._used_history:
            self._copy_names()
        self._close_items()

    def copy_rest(self) -> None:
        """Copy the tables that deliveries do not fill: customers, setup windows, token uses, counts, audit log."""
        skipped = {SUPERSEDED, *(table_of(model) for model in (*_REBUILT, *_OMITTED))}
        for table in METADATA.sorted_tables:
            if table in skipped:
                continue
            for rows in self._stream(select(table)).mappings().partitions(_ROWS):
                values = [{str(name): value for name, value in row.items()} for row in rows]
                self._transactions.run(lambda connection, t=table, v=values: connection.execute(insert(t), v))  # type: ignore[misc]

    def close(self) -> None:
        """Close the connection to the new database."""
        self._transactions.close()

    def _stream(self, statement: Any) -> Any:
        return self._source.execute(statement, execution_options={"stream_results": True, "yield_per": _ROWS})

    def _steps(self) -> Iterator[list[RebuildDelivery] | AuditRow]:
        """Yield deliveries in the order in which they were decided, in chunks of one transaction, with the replays in between.

        The order of commits is known; within one commit, the order of arrival is used.
        """
        deliveries, audit = table_of(DeliveryTable), table_of(AuditTable)
        in_order = select(deliveries).order_by(deliveries.c.decided_at, deliveries.c.id)
        deliveries_in_order: Iterator[_Step] = (DeliveryRow(*row) for row in self._stream(in_order))
        replays = select(audit).where(audit.c.action == ACTION).order_by(audit.c.done_at, audit.c.id)
        replay_entries: Iterator[_Step] = (AuditRow(*row) for row in self._stream(replays))
        chunk: list[DeliveryRow] = []
        for step in heapq.merge(deliveries_in_order, replay_entries, key=_time_of):
            if chunk and (isinstance(step, AuditRow) or _is_full(chunk, step)):
                yield self._read(chunk)
                chunk = []
            if isinstance(step, AuditRow):
                yield step
            else:
                chunk.append(step)
        if chunk:
            yield self._read(chunk)

    def _read(self, rows: Sequence[DeliveryRow]) -> list[RebuildDelivery]:
        found = read_stored(self._source, [row.id for row in rows])
        return [self._parse_stored(row, found.get(row.id)) for row in rows]

    def _parse_stored(self, row: DeliveryRow, stored: BodyRow | None) -> RebuildDelivery:
        content = stored
        try:
            content = None if stored is None else unpack(stored)
            if content is None or not can_be_decided(row) or not has_body(row, content.body):
                return RebuildDelivery(row, content, None)
            return RebuildDelivery(row, content, self._parse(make_delivery(row, content.headers, content.body)))
        except ReceiverError:  # also if it is damaged: then it is copied as it is stored
            return RebuildDelivery(row, content, None)

    def _store(self, chunk: Sequence[RebuildDelivery]) -> None:
        """Store deliveries in one transaction. If that fails, store each alone; what fails of one alone is quarantined."""
        history = read_history(
            self._source, [delivery.row.id for delivery in chunk if delivery.submission is None or delivery.blanks]
        )
        self._used_history |= bool(history.trackers)
        try:
            self._transactions.run(lambda connection: self._decide(connection, chunk, history))
        except StorageUnavailable:
            raise
        except Exception:
            if len(chunk) > 1:
                for delivery in chunk:
                    self._store([delivery])
                return
            delivery, submission = chunk[0], chunk[0].submission
            if submission is None:
                raise
            aside = set_aside(submission, lambda part: self._fails(delivery._replace(submission=part), history))
            self._transactions.run(lambda connection: self._decide(connection, [delivery._replace(submission=aside)], history))

    def _fails(self, delivery: RebuildDelivery, history: PrunedHistory) -> bool:
        return self._transactions.fails(lambda connection: self._decide(connection, [delivery], history))

    def _decide(self, connection: Connection, chunk: Sequence[RebuildDelivery], history: PrunedHistory) -> None:
        batch_state = BatchState(self._max_future, from_micros(chunk[0].row.decided_at))
        self._ledger.read(connection, batch_state, [delivery.submission for delivery in chunk if delivery.submission is not None])
        self._ledger.read_keys(connection, batch_state, set(history.trackers), history.message_keys(), history.contents())
        for delivery in chunk:
            batch_state.now = from_micros(delivery.row.decided_at)
            if delivery.submission is None:
                take_over(batch_state, history, delivery.row.id)
                continue
            erased = delivery.blanks & history.positions(delivery.row.id)
            for message in delivery.submission.messages:
                if message.position in erased:  # its content is gone
                    take_over(batch_state, history, delivery.row.id, message.position)
                else:
                    batch_state.decide(delivery.submission.delivery, [message])
        self._ledger.write(connection, batch_state)
        self._add_deliveries.execute(connection, [delivery.row for delivery in chunk])
        self._bodies.add(connection, [(each.row.source, each.stored) for each in chunk if each.stored is not None])

    def _replay(self, entry: AuditRow) -> None:
        """Repeat a replay by an operator. A delivery that was taken over from history needs none."""
        deliveries = table_of(DeliveryTable)
        found = self._source.execute(select(deliveries).where(deliveries.c.id == entry.subject)).first()
        (delivery,) = self._read([DeliveryRow(*found)]) if found is not None else (None,)
        if delivery is not None and delivery.submission is not None:
            submission, options = delivery.submission, ReplayOptions.from_audit(entry.done_at, entry.detail)
            try:
                self._transactions.run(lambda connection: self._replays.replay(connection, submission, options))
            except StorageUnavailable:
                raise
            except Exception:  # the delivery stays undecided; the comparison counts it
                return

    def _copy_names(self) -> None:
        """Copy the search terms and links of trackers that were taken over from history: their bodies are gone."""
        for rows in self._stream(select(table_of(SearchTermTable))).partitions(_ROWS):
            terms = [SearchTermRow(*row) for row in rows]
            self._transactions.run(partial(self._add_terms.execute, rows=terms))
        for rows in self._stream(select(table_of(LinkTable))).partitions(_ROWS):
            self._transactions.run(partial(self._copy_links, links=[LinkRow(*row) for row in rows]))

    def _copy_links(self, connection: Connection, links: Sequence[LinkRow]) -> None:
        self._put_links.execute(connection, links)
        self._completions.mark_packages(connection, [(link.source, link.package) for link in links])

    def _close_items(self) -> None:
        """Close the quarantined items that are closed in the source. They are found by their place: their ids are new."""
        quarantine = table_of(QuarantineTable)
        place = ("delivery_id", "position", "event_position", "reason")
        state = ("closed_at", "closed_as", "closed_by", "note")
        same = [quarantine.c[name].is_not_distinct_from(bindparam(f"of_{name}", type_=quarantine.c[name].type)) for name in place]
        close = (
            update(quarantine)
            .where(*same, IS_OPEN)
            .values({name: bindparam(f"new_{name}", type_=quarantine.c[name].type) for name in state})
        )
        closed = select(*(quarantine.c[name] for name in (*place, *state)))
        for rows in self._stream(closed.where(quarantine.c.closed_at.is_not(None))).mappings().partitions(_ROWS):
            values = [
                {**{f"of_{name}": row[name] for name in place}, **{f"new_{name}": row[name] for name in state}} for row in rows
            ]
            self._transactions.run(lambda connection, v=values: connection.execute(close, v))  # type: ignore[misc]


def check_empty(database: Database) -> None:
    """Raise ConfigurationError unless a database has no tables, or only empty tables of ours. The caller holds its lock.

    Raises StorageUnavailable if it cannot be read.
    """
    try:
        with database.connect_writer() as connection:
            present = set(inspect(connection).get_table_names()) - {"alembic_version", table_of(TableVersionTable).name}
            foreign = present - METADATA.tables.keys()
            any_row = {name: select(literal(1)).select_from(METADATA.tables[name]).limit(1) for name in sorted(present - foreign)}
            full = [name for name, statement in any_row.items() if connection.execute(statement).first()]
    except SQLAlchemyError as error:
        raise StorageUnavailable(database.explain(error)) from None
    if foreign or full:
        raise ConfigurationError(f"{database} is not empty (table {min([*foreign, *full])}). Name one with nothing in it.")


def _time_of(step: _Step) -> tuple[int, int]:
    return (step.done_at, 1) if isinstance(step, AuditRow) else (step.decided_at, 0)


def _is_full(chunk: Sequence[DeliveryRow], another: DeliveryRow) -> bool:
    return len(chunk) >= _DELIVERIES or sum(row.body_bytes for row in chunk) + another.body_bytes > _BYTES
