"""Undo of a forced replay: the events of a delivery that only `force` accepts go back to quarantine."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, TypeAlias

from sqlalchemy import Connection, Table, bindparam, delete, func, select

from receiver.clock import from_micros, new_id
from receiver.domain.batch import BatchState
from receiver.domain.batch_messages import is_nameless
from receiver.domain.occurrence import is_implausible, read_occurrence
from receiver.domain.records import Message, Submission
from receiver.domain.replays import Movement, Replayed, ReplayOptions, compare_trackers, warn_of_future
from receiver.domain.rows import EventRow, MessageRow, QuarantineRow, TrackerRow
from receiver.domain.timelines import TrackerKey
from receiver.domain.undo import take_back
from receiver.domain.verdicts import DUPLICATE, IMPLAUSIBLE_FUTURE, Verdict, rank_verdict
from receiver.storage.completions import lock_completions
from receiver.storage.database import Database
from receiver.storage.ledger import Ledger
from receiver.storage.revisions import read_timelines
from receiver.storage.statements import chunks, is_one_of
from receiver.storage.stored_items import (
    Decisions,
    StoredItems,
    change_message,
    compare_items,
    lock_delivery,
    read_items,
    write_counts,
)
from receiver.storage.tables.ledger import EventTable, MessageTable, RepeatedMessageTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.revisions import SUPERSEDED

_KEYS = 500  # in one statement

_Arrivals: TypeAlias = Mapping[tuple[str, str], int]
"""When messages arrived, by source and message id."""


class _Versions(NamedTuple):
    """The versions of events that the messages of a delivery brought: those that only `force` accepts, and the others."""

    forced: list[EventRow]
    others: list[EventRow]


class ForceUndo:
    """Takes back the events of a delivery whose time is too far ahead of its arrival, inside transactions of the caller.

    The rows say which they are: no body is needed, and neither is a record of the forced replay. An event stays if it came again
    in a message that the limit allows. Details that came with the event (names, references, the shipment block) stay until the
    next message brings others.
    """

    def __init__(self, database: Database, max_future: timedelta, ledger: Ledger) -> None:
        self._database = database
        self._max_future = max_future
        self._ledger = ledger

    def undo(self, connection: Connection, submission: Submission, options: ReplayOptions) -> Replayed:
        """Take events back and return what changes. Raises NotFound, AlreadyRunning.

        The race: other processes decide events of the same trackers. The trackers are locked, and their rows are read after that.
        """
        row = lock_delivery(connection, self._database, submission.delivery.id, options.as_read, needs_body=False)
        lock_completions(connection, self._database)
        items = read_items(connection, row.id)
        batch_state = BatchState(self._max_future, from_micros(options.now))
        self._read_trackers(connection, batch_state, items)
        found = self._read_versions(connection, _of_trackers(items, batch_state.trackers))
        if not found.forced:
            return Replayed(row.id, changed=False, items=compare_items(items, {}))
        known = dict(batch_state.trackers)
        self._take_back(connection, batch_state, found.forced, options.now)
        decided = _decide(batch_state, submission, items, found)
        _write_verdicts(connection, items, decided)
        self._ledger.write(connection, batch_state)
        compared = compare_items(items, decided)
        write_counts(connection, row, compared)
        trackers = [self._compare(batch_state, known[key], options.now) for key in sorted(batch_state.changed)]
        return Replayed(row.id, changed=True, items=compared, trackers=tuple(trackers))

    def _read_trackers(self, connection: Connection, batch_state: BatchState, items: StoredItems) -> None:
        """Lock the trackers that have events to take back, and read their timelines."""
        found = {row[:2] for row in self._read_versions(connection, _of_trackers(items)).forced}
        self._ledger.read_keys(connection, batch_state, found, {}, {})
        read_timelines(connection, batch_state.timelines, found)

    def _read_versions(self, connection: Connection, messages: Sequence[MessageRow]) -> _Versions:
        rows = list(_read_events(connection, messages))
        nameless = {(row.source, row.message_id) for row in messages if is_nameless(row)}
        again, copies = _read_arrivals(connection, rows), _read_copies(connection, nameless)
        versions = _Versions([], [])
        for row in rows:
            later = [again.get((row.source, row.stands_by or "")), copies.get((row.source, row.message_id))]
            is_forced = all(at is None or self._is_ahead(row, at) for at in (row.received_at, *later))
            (versions.forced if is_forced else versions.others).append(row)
        return versions

    def _is_ahead(self, row: EventRow, at: int) -> bool:
        return is_implausible(read_occurrence(row.occurrence), from_micros(at), self._max_future)

    def _take_back(self, connection: Connection, batch_state: BatchState, forced: Sequence[EventRow], at: int) -> None:
        """Take the events of each tracker back, and delete the rows that no longer belong to its timeline."""
        of_tracker: dict[TrackerKey, list[EventRow]] = defaultdict(list)
        for row in forced:
            of_tracker[row[:2]].append(row)
        versions: dict[TrackerKey, list[EventRow]] = defaultdict(list)
        for row in _read_superseded(connection, of_tracker):
            versions[row[:2]].append(row)
        for key, rows in sorted(of_tracker.items()):
            gone = take_back(batch_state, key, rows, versions[key], at)
            _delete(connection, table_of(EventTable), gone.current)
            _delete(connection, SUPERSEDED, gone.superseded)

    def _compare(self, batch_state: BatchState, before: TrackerRow, now: int) -> Movement:
        after = batch_state.trackers[before.source, before.tracker_id]
        latest = batch_state.timelines.timeline((after.source, after.tracker_id)).get(after.latest_event_id or "")
        times = from_micros(now if latest is None else latest.received_at), from_micros(now)
        return compare_trackers(before, after, warn_of_future(after.latest_occurrence, *times, self._max_future))


def _of_trackers(items: StoredItems, trackers: Mapping[TrackerKey, TrackerRow] | None = None) -> list[MessageRow]:
    """Return the messages of these trackers; None: of all trackers."""
    messages = [row for row in items.messages.values() if row.tracker_id is not None]
    return [row for row in messages if trackers is None or (row.source, row.tracker_id) in trackers]


def _read_events(connection: Connection, messages: Sequence[MessageRow]) -> Iterator[EventRow]:
    """Yield the versions of events that came first in these messages, current and superseded ones."""
    for table in (table_of(EventTable), SUPERSEDED):
        columns = (table.c.source, table.c.tracker_id)
        for some in chunks(messages, _KEYS):
            trackers = sorted({(row.source, row.tracker_id or "") for row in some})
            named = is_one_of(columns, trackers), table.c.message_id.in_([row.message_id for row in some])
            yield from (EventRow(*row) for row in connection.execute(select(table).where(*named)))


def _read_superseded(connection: Connection, trackers: Iterable[TrackerKey]) -> Iterator[EventRow]:
    columns = (SUPERSEDED.c.source, SUPERSEDED.c.tracker_id)
    for some in chunks(sorted(trackers), _KEYS):
        yield from (EventRow(*row) for row in connection.execute(select(SUPERSEDED).where(is_one_of(columns, some))))


def _read_arrivals(connection: Connection, events: Sequence[EventRow]) -> _Arrivals:
    """Return when the latest message with each of these contents arrived, where it is another message."""
    messages, found = table_of(MessageTable), dict[tuple[str, str], int]()
    columns = (messages.c.source, messages.c.message_id)
    for some in chunks(sorted({(row.source, row.stands_by) for row in events if row.stands_by is not None}), _KEYS):
        rows = connection.execute(select(*columns, messages.c.received_at).where(is_one_of(columns, some)))
        found |= {(row.source, row.message_id): row.received_at for row in rows}
    return found


def _read_copies(connection: Connection, nameless: Iterable[tuple[str, str]]) -> _Arrivals:
    """Return when messages without an id of their own came again. Such a copy is a message of its own, named after the first."""
    copies, found = table_of(RepeatedMessageTable), dict[tuple[str, str], int]()
    columns = (copies.c.source, copies.c.message_id)
    for some in chunks(sorted(nameless), _KEYS):
        latest = select(*columns, func.max(copies.c.received_at).label("at")).where(is_one_of(columns, some)).group_by(*columns)
        found |= {(row.source, row.message_id): row.at for row in connection.execute(latest)}
    return found


def _decide(batch_state: BatchState, submission: Submission, items: StoredItems, versions: _Versions) -> Decisions:
    """Put events that are taken back into quarantine, and return the verdicts of their messages."""
    parsed = {message.position: items.name(message) for message in submission.messages}
    forced, others = _by_message(versions.forced), _by_message(versions.others)
    decided: Decisions = {}
    detail = batch_state.describe("implausible_future")
    for position, stored in items.messages.items():
        if stored.message_id in forced:
            message = parsed.get(position)
            parts = [part for row in forced[stored.message_id] for part in _make_parts(stored, message, row, detail)]
            batch_state.quarantined += parts
            verdicts = [Verdict(row.outcome, row.reason) for row in others[stored.message_id]]
            set_aside = {part.event_position for part in (*parts, *items.parts.get(position, ()))}
            if message is not None and _has_known(message, {row.event_id for row in others[stored.message_id]}, set_aside):
                verdicts.append(DUPLICATE)
            decided[position] = stored.message_id, min((*verdicts, IMPLAUSIBLE_FUTURE), key=rank_verdict)
    return decided


def _by_message(rows: Iterable[EventRow]) -> dict[str, list[EventRow]]:
    found: dict[str, list[EventRow]] = defaultdict(list)
    for row in rows:
        found[row.message_id].append(row)
    return found


def _has_known(message: Message, own: set[str], set_aside: set[int | None]) -> bool:
    """Tell whether a message has an event that another message had brought before."""
    return any(
        event_position not in set_aside and event.event_id not in own for event_position, event in enumerate(message.events)
    )


def _make_parts(stored: MessageRow, message: Message | None, event: EventRow, detail: str | None) -> list[QuarantineRow]:
    """Return the rows of an event in quarantine. Without the message's content there is one row, without bytes and position."""
    same: list[tuple[int | None, bytes]] = [
        (event_position, sent.raw)
        for event_position, sent in enumerate(() if message is None else message.events)
        if (sent.event_id, sent.digest) == (event.event_id, event.digest)
    ]
    return [
        QuarantineRow(
            id=new_id(from_micros(stored.received_at)),
            delivery_id=stored.delivery_id,
            position=stored.position,
            event_position=event_position,
            source=stored.source,
            message_id=stored.message_id,
            tracker_id=stored.tracker_id,
            reason=IMPLAUSIBLE_FUTURE.reason or "",
            detail=detail,
            raw=raw,
            received_at=stored.received_at,
        )
        for event_position, raw in same or [(None, b"")]
    ]


def _write_verdicts(connection: Connection, items: StoredItems, decided: Decisions) -> None:
    """Update the verdicts of messages."""
    for position, (_, verdict) in decided.items():
        change_message(connection, items.messages[position], outcome=verdict.outcome, reason=verdict.reason)


def _delete(connection: Connection, table: Table, rows: Sequence[EventRow]) -> None:
    """Delete versions of events. Their trackers are locked."""
    names = ("source", "tracker_id", "event_id", "message_id", "digest")
    named = [table.c[name] == bindparam(f"of_{name}") for name in names]
    if rows:
        connection.execute(delete(table).where(*named), [{f"of_{name}": getattr(row, name) for name in names} for row in rows])
